// One person's favourites on one device: changed offline, and kept the same as the service has them.
//
//     TOKEN=... node device.ts URL FOLDER USER tap ITEM ADD|DELETE
//     TOKEN=... node device.ts URL FOLDER USER sync
//     TOKEN=... node device.ts URL FOLDER USER live
//               node device.ts URL FOLDER USER list
//
// USER is the account that TOKEN speaks for, by a name that stays and that no other account at URL has: with the issuer or
// tenant in it, where there are several. Each has a database of its own in FOLDER. To try a clock that is wrong, set
// CLOCK_ERROR_MS. docs/client.md says why each step is as it is. Node 24 runs it as it is, and reads device.py's files.

import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { follow } from "./live.ts";

type Item = { item: string; at_us: number; deleted: number };
type Queued = Item & { offset_ms: number };
type Wire = { item: string; actionDate: string; action: string };
type Receipt = Wire & { outcome: string; detail?: string };
type Answer = { status: number; headers: Headers; content: any }; // content: undefined where it is not JSON

const AGAIN = [429, 500, 502, 503, 504];
const ATTEMPTS = 6, OFFERS_MAX = 2, TIMEOUT_MS = 30_000, WAIT_MAX_MS = 60_000;
const BATCH = 100, ITEM_MAX = 255; // the first: where GET / does not tell
const MEASURE_MAX_MS = 10_000, NOISE_MS = 1000;
const DATE = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$/i;
const SCHEMA = `
CREATE TABLE IF NOT EXISTS known (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER);
CREATE TABLE IF NOT EXISTS queue (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER, offset_ms INTEGER);
CREATE TABLE IF NOT EXISTS refused (item TEXT PRIMARY KEY, at_us INTEGER, deleted INTEGER, why TEXT);
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, cursor TEXT, etag TEXT, offset_ms INTEGER, batch INTEGER,
  account TEXT);
INSERT OR IGNORE INTO state (id) VALUES (1);
CREATE VIEW IF NOT EXISTS shown AS SELECT item, at_us, deleted FROM queue
  UNION ALL SELECT item, at_us, deleted FROM known WHERE item NOT IN (SELECT item FROM queue);
`;
// The law: the later date stands; on the same instant, DELETE does.
const MERGE = `INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (item) DO UPDATE
  SET at_us = excluded.at_us, deleted = excluded.deleted
  WHERE (excluded.at_us, excluded.deleted) > (known.at_us, known.deleted)`;
const SETTLE = `DELETE FROM queue WHERE EXISTS (SELECT 1 FROM known WHERE known.item = queue.item
  AND (known.at_us, known.deleted) >= (queue.at_us, queue.deleted))`;
// The very version that was sent: the person may have tapped again since.
const RESTAMP = "UPDATE queue SET at_us = ?, offset_ms = ? WHERE item = ? AND at_us = ? AND deleted = ?";
const REMOVE = "DELETE FROM queue WHERE item = ? AND at_us = ? AND deleted = ?";
// Tapped before the first answer, and never sent.
const SET_OFFSET = "UPDATE queue SET at_us = at_us + ? * 1000, offset_ms = ? WHERE offset_ms IS NULL";

// The round did not end. Nothing is lost: what was not settled is in the queue, for the next one.
export class Failed extends Error {}

export class Device {
  readonly #url: string;
  readonly #token: string;
  readonly #clockErrorMs: number;
  readonly #db: DatabaseSync;

  // `user`: the account, by a name that stays and that no other issuer's or tenant's account has.
  constructor(url: string, folder: string, user: string, token: string, clockErrorMs = 0) {
    mkdirSync(folder, { mode: 0o700, recursive: true });
    [this.#url, this.#token, this.#clockErrorMs] = [url.replace(/\/+$/, ""), token, clockErrorMs];
    const path = join(folder, createHash("sha256").update(`${this.#url}\n${user}`).digest("hex") + ".db");
    closeSync(openSync(path, "a", 0o600)); // SQLite gives its journal the same
    this.#db = new DatabaseSync(path, { timeout: TIMEOUT_MS });
    this.#db.exec(SCHEMA);
  }

  // What the person did: on disk when this returns its date. RangeError for what the service would refuse.
  tap(item: string, action: string): string {
    const length = item.includes("\0") || !item.isWellFormed() ? 0 : [...item].length;
    if (length < 1 || length > ITEM_MAX || !["ADD", "DELETE"].includes(action))
      throw new RangeError(`an item has 1 to ${ITEM_MAX} characters, none of them NUL; an action is ADD or DELETE`);
    return this.#transaction(() => {
      const { seen_us } = this.#row("SELECT max(at_us) AS seen_us FROM shown WHERE item = ?", item);
      const { offset_ms } = this.#row("SELECT offset_ms FROM state");
      const at_us = Math.max((this.#nowMs() + (offset_ms ?? 0)) * 1000, (seen_us ?? 0) + 1000);
      const deleted = Number(action === "DELETE");
      this.#run("INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?)", item, at_us, deleted, offset_ms);
      this.#run("DELETE FROM refused WHERE item = ?", item);
      return textOf(at_us);
    });
  }

  // What the person sees; how many taps wait to be sent; what the service refused, and why.
  listing(): { records: Wire[]; waiting: number; refused: Record<string, string> } {
    const refused = this.#rows<{ item: string; why: string }>("SELECT item, why FROM refused ORDER BY item");
    return {
      records: this.#rows<Item>("SELECT * FROM shown ORDER BY item").map(record),
      waiting: this.#row("SELECT count(*) AS count FROM queue").count,
      refused: Object.fromEntries(refused.map(({ item, why }) => [item, why])),
    };
  }

  // One round: sends what is queued, takes what changed elsewhere. After Failed, call it again later.
  async sync(): Promise<void> {
    this.#checkAccount();
    let size: number = this.#row("SELECT batch FROM state").batch ?? (await this.#greet());
    let reading: boolean = this.#row("SELECT offset_ms FROM state").offset_ms === null; // what tells no time is read first
    const offered = new Map<string, number>();
    let begunAgain = false;
    for (;;) {
      const rows = reading ? [] : this.#next(size, offered);
      const { cursor: after, etag } = this.#row("SELECT cursor, etag FROM state");
      const answer = await this.#exchange(rows, after, etag);
      const { status, content } = answer;
      if (status === 200 && Array.isArray(content)) {
        this.#merge(answer, after, rows);
        const left = this.#next(size, offered);
        if (left.length === 0) return;
        const unsettled = rows.filter((row) => left.some((one) => String(key(one)) === String(key(row))));
        count(offered, unsettled);
        reading = unsettled.length > 0;
      } else if (status === 200 && rows.length > 0 && Array.isArray(content?.receipts)) {
        this.#readReceipts(after, rows, content.receipts);
        count(offered, rows);
      } else if (status === 304) {
        reading = false;
        if (this.#next(size, offered).length === 0) return;
      } else if (status === 410 && after !== null && !begunAgain) {
        this.#beginAgain();
        begunAgain = true;
      } else if ((status === 413 || status === 422) && rows.length > 1) {
        size = Math.floor(rows.length / 2);
      } else if ((status === 413 || status === 422) && rows[0]) {
        const [row] = rows;
        this.#transaction(() => this.#park(row, reason(answer)));
      } else {
        throw new Failed(reason(answer));
      }
    }
  }

  // One round, and then what changes elsewhere, as it changes, until `signal`; `told` of it once it is stored.
  async live(signal: AbortSignal, told: (changes: Wire[]) => void): Promise<void> {
    await this.sync();
    await follow(`${this.#url}/sync/favorites`, {
      token: (refused) => {
        if (refused !== null) throw new Failed("the token is not accepted: sign in again");
        return this.#token;
      },
      cursor: () => this.#row("SELECT cursor FROM state").cursor,
      store: (changes, cursor, after) => {
        const stood = this.#take(changes, cursor, after);
        if (stood) told(changes);
        return stood;
      },
      beginAgain: () => this.#beginAgain(),
    }, signal);
  }

  // Failed, where this database is another's: what is in it must not be sent with this token.
  #checkAccount(): void {
    const account = accountOf(this.#token);
    if (account === null) return;
    const madeFor = this.#transaction(() => {
      this.#run("UPDATE state SET account = ? WHERE account IS NULL", JSON.stringify(account));
      return this.#row("SELECT account FROM state").account;
    });
    if (JSON.stringify(JSON.parse(madeFor)) !== JSON.stringify(account))
      throw new Failed("the token is another account's than this database: nothing was sent");
  }

  // What one request may hold; and, before anything was sent, how far the clock is off. Some do not say.
  async #greet(): Promise<number> {
    const answer = await this.#request("GET", "/", {});
    const batch = answer?.status === 200 ? answer.content?.limits?.maxBatch : null;
    if (!Number.isSafeInteger(batch) || batch <= 0) return BATCH;
    this.#run("UPDATE state SET batch = ?", batch);
    return batch;
  }

  // A batch, all with one offset, by the header of the request; no item more than OFFERS_MAX times a round.
  #next(size: number, offered: Map<string, number>): Queued[] {
    this.#run("UPDATE queue SET offset_ms = 0 WHERE offset_ms IS NULL"); // nobody told the time
    const found = this.#rows<Queued>("SELECT * FROM queue ORDER BY offset_ms, at_us");
    const rows = found.filter((row) => (offered.get(row.item) ?? 0) < OFFERS_MAX).slice(0, size);
    return rows.filter((row) => row.offset_ms === rows[0]?.offset_ms);
  }

  // What came, what was settled, and the cursor: together, or not at all.
  #merge(answer: Answer, after: string | null, sent: Queued[]): void {
    const [cursor, etag] = [answer.headers.get("Sync-Cursor"), answer.headers.get("ETag")];
    const settled = cursor === null ? [] : sent; // without a cursor, only what the list has
    this.#transaction(() => {
      if (!this.#stands(after)) return;
      for (const one of [...answer.content.map(version), ...settled]) this.#learn(one);
      this.#run(SETTLE);
      // A tag is of one URL: of a GET, with its `after`.
      const tag = cursor === after && sent.length === 0 ? etag : null;
      this.#run("UPDATE state SET cursor = ?, etag = ?", cursor, tag);
    });
  }

  // Whether the cursor is still the one that was sent. If not, another round was here: what came may be old.
  #stands(after: string | null): boolean {
    return this.#row("SELECT cursor FROM state").cursor === after;
  }

  // From the stream. False, where a round was here meanwhile, and the cursor is another one.
  #take(changes: Wire[], cursor: string, after: string | null): boolean {
    return this.#transaction(() => {
      if (this.#stands(cursor)) return true; // the round had just this
      if (!this.#stands(after)) return false;
      for (const one of changes) this.#learn(version(one));
      this.#run(SETTLE);
      this.#run("UPDATE state SET cursor = ?, etag = NULL", cursor);
      return true;
    });
  }

  #readReceipts(after: string | null, rows: Queued[], receipts: Receipt[]): void {
    this.#transaction(() => {
      if (!this.#stands(after)) return;
      const offset_ms: number = this.#row("SELECT offset_ms FROM state").offset_ms ?? 0;
      const now_us = (this.#nowMs() + offset_ms) * 1000;
      for (const [index, row] of rows.entries()) {
        const receipt = receipts[index];
        if (!receipt || receipts.length !== rows.length)
          throw new Failed("the service answered more or fewer receipts than there were records");
        if (["applied", "duplicate", "superseded"].includes(receipt.outcome)) {
          this.#learn(version(receipt));
          this.#learn(row);
        } else if (receipt.outcome === "future") { // nothing was stored of it, so it may become another version
          const at_us = Math.min(row.at_us + (offset_ms - row.offset_ms) * 1000, now_us);
          this.#run(RESTAMP, at_us, offset_ms, ...key(row));
        } else if (receipt.outcome === "limit" || receipt.outcome === "invalid") {
          this.#park(row, receipt.detail || receipt.outcome);
        }
      }
      this.#run(SETTLE);
    });
  }

  #learn(one: Item): void {
    this.#run(MERGE, ...key(one));
  }

  // Out of the others' way, for the person to be told.
  #park(row: Queued, why: string): void {
    if (this.#run(REMOVE, ...key(row)))
      this.#run("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)", ...key(row), why);
  }

  // The service may have forgotten something: what it held is news again, unless its whole list has it.
  #beginAgain(): void {
    this.#transaction(() => {
      this.#run("INSERT OR IGNORE INTO queue SELECT item, at_us, deleted, 0 FROM known");
      this.#run("DELETE FROM known");
      this.#run("UPDATE state SET cursor = NULL, etag = NULL");
    });
  }

  #exchange(rows: Queued[], after: string | null, etag: string | null): Promise<Answer> {
    const query = after === null ? "" : `?after=${after}`;
    const [first] = rows;
    if (!first) return this.#ask("GET", "/getUserFavorites" + query, etag === null ? {} : { "If-None-Match": etag });
    const headers = {
      "Content-Type": "application/json",
      "Prefer": "handling=lenient, return=representation",
      "Sync-Clock-Offset": String(first.offset_ms),
    };
    const own = rows.map((row) => record({ ...row, at_us: row.at_us - row.offset_ms * 1000 }));
    return this.#ask("POST", "/postUserFavorites" + query, headers, JSON.stringify(own));
  }

  // Sends the same again until an answer comes that says something: the law makes that harmless.
  async #ask(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
    let why = "the service cannot be reached";
    for (let attempt = 1; ; attempt += 1) {
      let waitMs = 0;
      const answer = await this.#request(method, path, headers, body);
      if (answer) {
        if (answer.status === 401) throw new Failed("the token is not accepted: sign in again, and sync");
        if (!AGAIN.includes(answer.status) && !(answer.status === 200 && answer.content === undefined)) return answer;
        why = reason(answer);
        waitMs = 1000 * (Number(answer.headers.get("Retry-After")) || 0);
      }
      if (waitMs > WAIT_MAX_MS || attempt === ATTEMPTS) throw new Failed(why);
      await sleep(waitMs + Math.random() * Math.min(WAIT_MAX_MS, 125 * 2 ** attempt));
    }
  }

  async #request(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer | null> {
    const [beganMs, began] = [this.#nowMs(), performance.now()];
    let response: Response, text: string;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: { ...headers, Authorization: `Bearer ${this.#token}` },
        body: body ?? null,
        redirect: "manual", // the token is for this host
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      text = await response.text();
    } catch {
      return null;
    }
    this.#setClock(response.headers.get("Sync-Time"), beganMs, Math.round(performance.now() - began));
    return { status: response.status, headers: response.headers, content: parsed(text) };
  }

  // Learns the offset, where what is measured differs by more than the measure's own error.
  #setClock(syncTime: string | null, beganMs: number, tookMs: number): void {
    const endedMs = this.#nowMs();
    if (syncTime === null || tookMs > MEASURE_MAX_MS || Math.abs(endedMs - beganMs - tookMs) > NOISE_MS)
      return; // too slow to tell; or the clock was set meanwhile, or the device slept
    const measuredMs = Math.floor(usOf(syncTime) / 1000) - Math.floor((beganMs + endedMs) / 2);
    this.#transaction(() => {
      const { offset_ms } = this.#row("SELECT offset_ms FROM state");
      if (offset_ms === null || Math.abs(measuredMs - offset_ms) > Math.max(NOISE_MS, tookMs))
        this.#run("UPDATE state SET offset_ms = ?", measuredMs);
      if (offset_ms === null) this.#run(SET_OFFSET, measuredMs, measuredMs);
    });
  }

  #nowMs(): number {
    return Date.now() + this.#clockErrorMs;
  }

  // How many rows it changed.
  #run(query: string, ...values: SQLInputValue[]): number {
    return Number(this.#db.prepare(query).run(...values).changes);
  }

  #rows<Row>(query: string, ...values: SQLInputValue[]): Row[] {
    return this.#db.prepare(query).all(...values) as Row[];
  }

  #row(query: string, ...values: SQLInputValue[]): any {
    return this.#db.prepare(query).get(...values);
  }

  #transaction<Result>(work: () => Result): Result {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw error;
    }
  }
}

function key({ item, at_us, deleted }: Item): [string, number, number] {
  return [item, at_us, deleted];
}

function count(offered: Map<string, number>, rows: Item[]): void {
  for (const { item } of rows) offered.set(item, (offered.get(item) ?? 0) + 1);
}

// Whom a JWT speaks for, by its own unverified word: `iss` and `sub`. Null of a token that tells neither.
function accountOf(token: string): unknown[] | null {
  const parts = token.split(".");
  const claims: any = parts.length === 3 ? parsed(Buffer.from(parts[1] ?? "", "base64url").toString()) : null;
  return claims?.iss || claims?.sub ? [claims.iss ?? null, claims.sub ?? null] : null;
}

// Of a date as the protocol has it: in GMT where it names no zone. Date knows milliseconds, the service microseconds.
function usOf(text: string): number {
  const [, day, time, fraction = "", zone = "Z"] = DATE.exec(text) ?? [];
  const us = Date.parse(`${day}T${time}${zone.toUpperCase()}`) * 1000 + Number(fraction.slice(0, 6).padEnd(6, "0"));
  if (Number.isNaN(us)) throw new Failed(`the service answered a date that is none: ${text}`);
  return us;
}

// In GMT, with as many decimals as it needs: three or six.
function textOf(at_us: number): string {
  const finer = at_us % 1000;
  const text = new Date((at_us - finer) / 1000).toISOString();
  return finer === 0 ? text : text.replace("Z", `${String(finer).padStart(3, "0")}Z`);
}

function record({ item, at_us, deleted }: Item): Wire {
  return { item, actionDate: textOf(at_us), action: deleted ? "DELETE" : "ADD" };
}

function version({ item, actionDate, action }: Wire): Item {
  return { item, at_us: usOf(actionDate), deleted: Number(action === "DELETE") };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reason({ status, content }: Answer): string {
  return `the service answered ${status}. ${content?.detail ?? ""}`;
}

async function main(): Promise<void> {
  const [url, folder, user, command, ...values] = process.argv.slice(2);
  const { TOKEN = "", CLOCK_ERROR_MS = "0" } = process.env;
  try {
    if (!url || !folder || !user) throw new RangeError("how to call it stands at the top of device.ts");
    const device = new Device(url, folder, user, TOKEN.trim(), Number(CLOCK_ERROR_MS));
    if (command === "tap") console.log(device.tap(values[0] ?? "", values[1] ?? ""));
    else if (command === "sync") await device.sync();
    else if (command === "list") console.log(JSON.stringify(device.listing()));
    else if (command === "live") {
      const stop = new AbortController();
      for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => stop.abort());
      await device.live(stop.signal, (changes) => changes.forEach((one) => console.log(JSON.stringify(one))));
    } else throw new RangeError("the commands are tap ITEM ADD|DELETE, sync, live, and list");
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

await main();
