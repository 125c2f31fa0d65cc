// A person's records as they change elsewhere: GET /sync/{entity} as a stream of events, by fetch. Node 24 runs it as it
// is, a browser without its types. docs/client.md, "Live", says why each step is as it is; device.ts shows its use.

export type Change = { item: string; actionDate: string; action: string; fields?: unknown };
export type Message = { id: string; type: string; data: string };
type Soon<Value> = Value | Promise<Value>;

// What the stream asks of the device. Where one of these throws, following ends with what it threw.
export interface Follower {
  // The account's token: another one than `refused`, which the service does not take.
  token(refused: string | null): Soon<string>;
  // The cursor as it is stored.
  cursor(): Soon<string | null>;
  // Changes and cursor, in one transaction. False, and nothing stored, where the stored cursor is not `after` any more.
  store(changes: Change[], cursor: string, after: string | null): Soon<boolean>;
  // The cursor has ended (410): drops it.
  beginAgain(): Soon<void>;
}

const AGAIN = [429, 500, 502, 503, 504], EVENTS = "text/event-stream";
const SILENT_MS = 45_000; // three comments of the service
const WAIT_MIN_MS = 250, WAIT_MAX_MS = 60_000, ASKED_MAX_S = 3600;

// The service's answer is none that asking again would mend.
export class Refused extends Error {}

// Follows until `signal`, over lost connections and restarts. `silentMs`: after which a connection counts as lost.
export async function follow(url: string, device: Follower, signal: AbortSignal, silentMs = SILENT_MS): Promise<void> {
  let refused: string | null = null;
  let failures = 0;
  while (!signal.aborted) {
    const token = await device.token(refused);
    let after = await device.cursor();
    const headers: Record<string, string> = { Accept: EVENTS, Authorization: `Bearer ${token}` };
    if (after !== null) headers["Last-Event-ID"] = after;
    const connection = new Connection(silentMs);
    const stopped = AbortSignal.any([signal, connection.signal]);
    // A redirect is not followed: the token is for this host.
    const request = new Request(url, { headers, redirect: "manual", cache: "no-store", signal: stopped });
    const began = performance.now();
    let [waitMs, heard] = [0, false];
    try {
      const answer = await connection.open(request);
      const status = answer?.status ?? 503;
      refused = status === 401 ? token : null;
      if (answer && status === 200 && answer.headers.get("Content-Type")?.startsWith(EVENTS)) {
        const parser = new Parser();
        for (let bytes; (bytes = await connection.read()) && !signal.aborted; ) {
          const messages = parser.push(bytes).filter(({ type }) => type === "message");
          const cursor: string | null = messages.at(-1)?.id || after;
          if (messages.length === 0 || cursor === null) continue;
          heard = true;
          const changes = messages.map(({ data }): Change => JSON.parse(data));
          if (!(await device.store(changes, cursor, after))) break; // a round was here: go on from its cursor
          after = cursor;
        }
      } else if (status === 410 && after !== null) {
        await device.beginAgain();
      } else if (AGAIN.includes(status)) {
        waitMs = 1000 * Math.min(ASKED_MAX_S, Number(answer?.headers.get("Retry-After")) || 0);
      } else if (status !== 200 && status !== 401) { // 200 with something else: the network of a hotel says hello
        throw new Refused(`the service answered ${status} to the stream`);
      }
    } finally {
      connection.close();
    }
    failures = heard || performance.now() - began > silentMs ? 0 : failures + 1;
    await sleep(waitMs + Math.random() * Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** failures), signal);
  }
}

// One answer, read as it comes; given up where nothing comes for `silentMs`, not even a comment.
class Connection {
  readonly #stop = new AbortController();
  readonly #silentMs: number;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(silentMs: number) {
    this.#silentMs = silentMs;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  // Null: none came.
  async open(request: Request): Promise<Response | null> {
    const answer = await this.#inTime(fetch(request));
    this.#reader = answer?.body?.getReader();
    return answer;
  }

  // Null: it has ended, or was lost.
  async read(): Promise<Uint8Array | null> {
    const part = this.#reader && (await this.#inTime(this.#reader.read()));
    return part?.value ?? null;
  }

  close(): void {
    this.#stop.abort();
  }

  async #inTime<Result>(work: Promise<Result>): Promise<Result | null> {
    const timer = setTimeout(() => this.#stop.abort(), this.#silentMs);
    try {
      return await work;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }
}

// The events in a stream of bytes, however it is cut up: HTML, section 9.2.6. `retry` is left out: the waits are our own.
export class Parser {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // keeps a part of a character for the next bytes
  #rest = ""; // a line that has not ended
  #skip = "\ufeff"; // which says nothing, if it comes next: a BOM; a \n behind a \r
  #id = ""; // stands until another one comes
  #type = "";
  #data = "";

  // What these bytes complete. What is never completed is never given.
  push(bytes: Uint8Array): Message[] {
    const text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return [];
    const lines = text.slice(text.startsWith(this.#skip) ? this.#skip.length : 0).split(/\r\n|\n|\r/);
    this.#skip = text.endsWith("\r") ? "\n" : "";
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#take(line));
  }

  #take(line: string): Message[] {
    if (line === "") {
      const message = { id: this.#id, type: this.#type || "message", data: this.#data.slice(0, -1) };
      const given = this.#data === "" ? [] : [message];
      [this.#type, this.#data] = ["", ""];
      return given;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []; // a comment is a field without a name
    if (field === "data") this.#data += value + "\n";
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return [];
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
