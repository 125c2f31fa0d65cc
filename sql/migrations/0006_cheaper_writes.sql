-- The write path for half of PostgreSQL's work. docs/adr/0011.

-- An index on seq made every update of a record write to two indexes, for PostgreSQL leaves them alone only where no
-- column of any of them changes (HOT). So what changed since a number is found by the stretch of 1,024 numbers that it
-- lies in: a record that changes again within a stretch, as most do, stays where it is, if its page has room. Who reads
-- passes over what of one stretch is too old: fewer than 1,024 records, however many there are. In a set that a tenant
-- shares (its owner is `tenant//entity`), which is large and followed by many, each number is a stretch.
DROP INDEX records_by_seq;
ALTER TABLE records SET (fillfactor = 80);
ALTER TABLE records ADD COLUMN stretch bigint NOT NULL GENERATED ALWAYS AS
  (CASE WHEN strpos(user_id, '//') > 0 THEN seq ELSE seq / 1024 END) STORED;
CREATE INDEX records_by_seq ON records ((user_id || '/' || entity), stretch);

-- What waits for its place: one row for all that one push wrote of an entity for a user, and not one for each record.
-- `seq` is the last of `seqs`; the other arrays are as long, but for `fields`, which is null where none has any.
-- Kept in the row while it fits into a page, and not compressed: it lives for some milliseconds.
ALTER TABLE feed_pending DROP CONSTRAINT feed_pending_pkey;
ALTER TABLE feed_pending ADD COLUMN seqs bigint[];
UPDATE feed_pending SET seqs = ARRAY[seq];
ALTER TABLE feed_pending
  ALTER seqs SET NOT NULL,
  ALTER item      TYPE text[] COLLATE "C" USING ARRAY[item],
  ALTER action_us TYPE bigint[]  USING ARRAY[action_us],
  ALTER deleted   TYPE boolean[] USING ARRAY[deleted],
  ALTER digest    TYPE bytea[]   USING ARRAY[digest],
  ALTER fields    TYPE json[]    USING CASE WHEN fields IS NOT NULL THEN ARRAY[fields] END,
  ALTER item SET STORAGE EXTERNAL, ALTER seqs SET STORAGE EXTERNAL, ALTER action_us SET STORAGE EXTERNAL,
  ALTER deleted SET STORAGE EXTERNAL, ALTER digest SET STORAGE EXTERNAL, ALTER fields SET STORAGE EXTERNAL,
  SET (toast_tuple_target = 8160, autovacuum_vacuum_threshold = 1000),
  ADD PRIMARY KEY (user_id, entity, seq);
ALTER TABLE feed_pending RENAME item TO items;
ALTER TABLE feed_pending RENAME digest TO digests;

-- The one way into `records`. Arrays of equal length, one place a record, at most one record a key, in the order of
-- arrival; many users at once. Gives arrays of that length:
--   seen_*   the version that stood before (null: none), as under the lock of the user's stream
--   refused  true where it would give its user more than p_item_limit items of the entity (null: no limit); the limit
--            is the same for all records of a user and entity. Null instead of the array: none is refused
-- Every other record wins exactly where its version is greater than the one seen: the law of core/merge.py.
-- A call that changes nothing locks nothing and leaves no trace. p_digest, p_fields: null where there are none at all.
--
-- It looks once, before it locks, and writes over exactly what it saw: the very row (ctid) with the very number (seq),
-- which no two versions of a user's have. Where all that should win was written, nobody came between, and what was seen
-- is what stood under the lock. Where not, it looks again, now under the lock, at what it has not written. Nobody moves
-- a row meanwhile: VACUUM FULL and CLUSTER wait for whoever has looked.
--
-- Tables meet arrays in plain joins only, and are written from arrays only: what Citus can spread. Arrays never meet
-- arrays: the planner takes each for ten elements, and would compare a million pairs.
-- The settings: one plan for all calls (planning anew at each costs more than running), and one by index (a plan made
-- while the tables are empty would read them whole, and be kept while they grow). docs/adr/0001.
-- The join with `records` says `>=` beside `=`, which the key answers whole: where the table was once seen empty, and the
-- planner expects one row of it, it would else compare each row with each place.
CREATE FUNCTION offer(
  p_user text[], p_entity text[], p_item text[],
  p_action_us bigint[], p_deleted boolean[], p_digest bytea[], p_fields text[],
  p_item_limit bigint[]
) RETURNS TABLE (seen_action_us bigint[], seen_deleted boolean[], seen_digest bytea[], refused boolean[])
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_size     int := coalesce(cardinality(p_user), 0);
  v_one      boolean := p_user[1] = ALL (p_user);  -- all are of one user
  v_locked   boolean := false;
  v_sure     boolean := false;  -- the latest look was under the lock
  v_close    boolean;           -- somebody may be at the item limit
  v_users    text[];            -- whose streams are locked, in order,
  v_taken    bigint[];          -- how many numbers of theirs were taken,
  v_tops     bigint[] := '{}';  -- and the last of those
  v_found    int;               -- how many of the records are there
  v_winners  int;
  v_written  int;
  v_inserted int;
  v_at       int;
  v_next     bigint;
  v_held     bigint;
  v_row      record;
  v_fields   json[] := p_fields::json[];  -- read once; and Citus takes no cast of a column in an UPDATE
  -- of those that are there: where they stand in what came, whether they are as written by ourselves, ...
  v_places   bigint[];
  v_ours     boolean[];
  v_us       bigint[];
  v_deleted  boolean[];
  v_digest   bytea[];
  v_older    boolean[];
  v_old_seq  bigint[];
  v_old_tid  tid[];
  -- by place; arrays that came are never asked for one element, which is found by walking through those before it
  v_wins     boolean[];
  v_new      boolean[];
  v_seen_seq bigint[];
  v_seen_tid tid[];
  v_seq      bigint[];          -- the number that is given away
BEGIN
  p_digest := coalesce(p_digest, array_fill(''::bytea, ARRAY[v_size]));
  LOOP
    SELECT count(*), count(*) FILTER (WHERE l.older), array_agg(l.place), array_agg(l.ours), array_agg(l.action_us),
           array_agg(l.deleted), array_agg(l.digest), array_agg(l.older), array_agg(l.seq), array_agg(l.tid)
      INTO v_found, v_winners, v_places, v_ours, v_us, v_deleted, v_digest, v_older, v_old_seq, v_old_tid
      FROM (SELECT i.place, r.seq = i.seq AS ours, r.action_us, r.deleted, r.digest, r.seq, r.ctid AS tid,
                   (i.action_us, i.deleted, i.digest) > (r.action_us, r.deleted, r.digest) AS older
              FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, v_seq) WITH ORDINALITY
                     AS i (user_id, entity, item, action_us, deleted, digest, seq, place)
              JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
                             AND (r.entity, r.item) >= (i.entity, i.item)) l;
    v_winners := v_winners + v_size - v_found;
    -- They nearly always come in the order of their places; ORDER BY would lead the planner astray on an empty table.
    IF v_found = v_size AND NOT v_locked
       AND (v_size = 1 OR v_places = ARRAY(SELECT generate_series(1::bigint, v_size))) THEN
      seen_action_us := v_us;
      seen_deleted := v_deleted;
      seen_digest := v_digest;
      v_wins := v_older;
      v_seen_seq := v_old_seq;
      v_seen_tid := v_old_tid;
    ELSE
      IF NOT v_locked THEN
        seen_action_us := array_fill(NULL::bigint, ARRAY[v_size]);
        seen_deleted := array_fill(NULL::boolean, ARRAY[v_size]);
        seen_digest := array_fill(NULL::bytea, ARRAY[v_size]);
        v_seen_seq := seen_action_us;
        v_seen_tid := array_fill(NULL::tid, ARRAY[v_size]);
      END IF;
      v_wins := array_fill(true, ARRAY[v_size]);
      v_new := v_wins;
      FOR k IN 1 .. v_found LOOP
        v_at := v_places[k];
        v_new[v_at] := false;
        v_wins[v_at] := v_older[k];
        CONTINUE WHEN v_ours[k];
        seen_action_us[v_at] := v_us[k];
        seen_deleted[v_at] := v_deleted[k];
        seen_digest[v_at] := v_digest[k];
        v_seen_seq[v_at] := v_old_seq[k];
        v_seen_tid[v_at] := v_old_tid[k];
        IF NOT v_older[k] AND v_seq IS NOT NULL THEN  -- a neighbour was faster
          v_seq[v_at] := NULL;
        END IF;
      END LOOP;
    END IF;

    -- Lock the streams of the winners' users, always in the same order, and take as many numbers as may be needed.
    IF v_locked THEN
      v_sure := true;
    ELSE
      EXIT WHEN v_winners = 0;  -- versions only grow: what loses here has lost for good
      IF v_one THEN
        INSERT INTO streams AS s (user_id, seq) VALUES (p_user[1], v_winners)
        ON CONFLICT (user_id) DO UPDATE SET seq = s.seq + excluded.seq
        RETURNING s.seq INTO v_next;
        v_users := p_user[1:1];
        v_taken := ARRAY[v_winners];
        v_tops := ARRAY[v_next];
      ELSE
        SELECT array_agg(u.user_id), array_agg(u.number) INTO v_users, v_taken
          FROM (SELECT i.user_id, count(*) AS number FROM unnest(p_user, v_wins) AS i (user_id, wins)
                 WHERE i.wins GROUP BY i.user_id ORDER BY i.user_id COLLATE "C") u;
        v_at := 0;
        FOR v_row IN
          INSERT INTO streams AS s (user_id, seq)
          SELECT u.user_id, u.number FROM unnest(v_users, v_taken) AS u (user_id, number) ORDER BY u.user_id COLLATE "C"
          ON CONFLICT (user_id) DO UPDATE SET seq = s.seq + excluded.seq
          RETURNING s.user_id, s.seq
        LOOP
          v_at := v_at + 1;
          IF v_users[v_at] IS DISTINCT FROM v_row.user_id THEN  -- locked in this order, and not always told of in it
            v_at := array_position(v_users, v_row.user_id);
          END IF;
          v_tops[v_at] := v_row.seq;
        END LOOP;
      END IF;
      v_locked := true;
    END IF;

    -- New items beyond the limit are refused, the later ones. They are counted once it is sure which are new.
    IF v_found < v_size THEN
      v_close := false;
      v_at := 1;
      FOR v_row IN
        SELECT i.user_id, i.entity, min(i.item_limit) AS item_limit, array_agg(i.place ORDER BY i.place) AS places
          FROM unnest(p_user, p_entity, v_new, p_item_limit) WITH ORDINALITY
                 AS i (user_id, entity, new, item_limit, place)
         WHERE i.new AND i.item_limit IS NOT NULL
         GROUP BY 1, 2
         ORDER BY i.user_id COLLATE "C"
      LOOP
        -- Nobody has more records than changes, so that a large set need not be counted while its stream is locked.
        WHILE v_users[v_at] < v_row.user_id COLLATE "C" LOOP
          v_at := v_at + 1;
        END LOOP;
        CONTINUE WHEN v_tops[v_at] <= v_row.item_limit;
        v_close := true;
        EXIT WHEN NOT v_sure;
        SELECT count(*) INTO v_held FROM records r WHERE r.user_id = v_row.user_id AND r.entity = v_row.entity;
        FOR v_over IN greatest(v_row.item_limit - v_held, 0) + 1 .. cardinality(v_row.places) LOOP
          refused := coalesce(refused, array_fill(false, ARRAY[v_size]));
          refused[v_row.places[v_over]] := true;
          v_wins[v_row.places[v_over]] := false;
          v_winners := v_winners - 1;
        END LOOP;
      END LOOP;
      CONTINUE WHEN v_close AND NOT v_sure;
    END IF;

    -- A user's last winner gets the top number.
    IF v_seq IS NULL THEN
      v_seq := array_fill(NULL::bigint, ARRAY[v_size]);
      IF v_one THEN
        v_next := v_tops[1];
        FOR k IN REVERSE v_size .. 1 LOOP
          IF v_wins[k] THEN
            v_seq[k] := v_next;
            v_next := v_next - 1;
          END IF;
        END LOOP;
      ELSE
        v_at := 0;
        FOR v_row IN
          SELECT i.user_id, array_agg(i.place ORDER BY i.place DESC) AS places
            FROM unnest(p_user, v_wins) WITH ORDINALITY AS i (user_id, wins, place)
           WHERE i.wins GROUP BY i.user_id ORDER BY i.user_id COLLATE "C"
        LOOP
          v_at := v_at + 1;
          WHILE v_users[v_at] < v_row.user_id COLLATE "C" LOOP  -- all of whose records were refused
            v_at := v_at + 1;
          END LOOP;
          v_next := v_tops[v_at] + 1;
          FOR k IN 1 .. cardinality(v_row.places) LOOP
            v_seq[v_row.places[k]] := v_next - k;
          END LOOP;
        END LOOP;
      END IF;
    END IF;

    v_written := 0;
    IF v_found > 0 THEN
      UPDATE records r
         SET action_us = i.action_us, deleted = i.deleted, digest = i.digest, fields = i.fields, seq = i.seq
        FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, v_fields,
                    v_seq, v_wins, v_seen_seq, v_seen_tid)
               AS i (user_id, entity, item, action_us, deleted, digest, fields, seq, wins, seen_seq, seen_tid)
       WHERE i.wins AND r.ctid = i.seen_tid AND r.seq = i.seen_seq
         AND (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item) AND (r.entity, r.item) >= (i.entity, i.item)
         AND (i.action_us, i.deleted, i.digest) > (r.action_us, r.deleted, r.digest);
      GET DIAGNOSTICS v_written = ROW_COUNT;
    END IF;
    IF v_found < v_size THEN
      INSERT INTO records (user_id, entity, item, action_us, deleted, digest, fields, seq)
      SELECT i.user_id, i.entity, i.item, i.action_us, i.deleted, i.digest, i.fields, i.seq
        FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, v_fields, v_seq, v_wins, v_new)
               AS i (user_id, entity, item, action_us, deleted, digest, fields, seq, wins, new)
       WHERE i.wins AND i.new
      ON CONFLICT (user_id, entity, item) DO NOTHING;
      GET DIAGNOSTICS v_inserted = ROW_COUNT;
      v_written := v_written + v_inserted;
    END IF;
    EXIT WHEN v_written = v_winners;
    IF v_sure THEN
      RAISE EXCEPTION 'records were written without the lock of their stream' USING ERRCODE = 'serialization_failure';
    END IF;
  END LOOP;

  IF v_locked AND v_one AND v_winners = v_size AND NOT v_sure AND p_entity[1] = ALL (p_entity) THEN
    -- What came is what waits.
    INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests, fields)
    VALUES (p_user[1], p_entity[1], v_tops[1], p_item, v_seq, p_action_us, p_deleted, p_digest,
            CASE WHEN array_remove(p_fields, NULL) <> '{}' THEN v_fields END);
  ELSIF v_locked THEN
    INSERT INTO feed_pending (user_id, entity, seq, items, seqs, action_us, deleted, digests, fields)
    SELECT i.user_id, i.entity, max(i.seq), array_agg(i.item), array_agg(i.seq), array_agg(i.action_us),
           array_agg(i.deleted), array_agg(i.digest), CASE WHEN count(i.fields) > 0 THEN array_agg(i.fields) END
      FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, v_fields, v_seq)
             AS i (user_id, entity, item, action_us, deleted, digest, fields, seq)
     WHERE i.seq IS NOT NULL
     GROUP BY i.user_id, i.entity;
  END IF;

  -- A neighbour was faster, or the limit refused: what was taken beyond the last that was given away goes back.
  IF v_sure THEN
    v_at := 1;
    FOR v_row IN
      SELECT i.user_id, max(i.seq) AS seq FROM unnest(p_user, v_seq) AS i (user_id, seq)
       WHERE i.seq IS NOT NULL GROUP BY i.user_id ORDER BY i.user_id COLLATE "C"
    LOOP
      WHILE v_users[v_at] < v_row.user_id COLLATE "C" LOOP
        v_at := v_at + 1;
      END LOOP;
      v_taken[v_at] := v_tops[v_at] - v_row.seq;
    END LOOP;
    INSERT INTO streams AS s (user_id, seq)
    SELECT u.user_id, u.number FROM unnest(v_users, v_taken) AS u (user_id, number) WHERE u.number > 0
    ON CONFLICT (user_id) DO UPDATE SET seq = s.seq - excluded.seq;
  END IF;
  RETURN NEXT;
END
$$;

-- As the releases before call it, while they are replaced. What they write waits until a new one places it.
CREATE OR REPLACE FUNCTION push(
  p_user text[], p_entity text[], p_item text[],
  p_action_us bigint[], p_deleted boolean[], p_digest bytea[], p_fields text[],
  p_item_limit bigint[]
) RETURNS TABLE (place bigint, seen_action_us bigint, seen_deleted boolean, seen_digest bytea, refused boolean)
LANGUAGE sql VOLATILE
AS $$
  SELECT a.place, a.action_us, a.deleted, a.digest, coalesce(a.refused, false)
    FROM offer(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, p_fields, p_item_limit) o
   CROSS JOIN unnest(o.seen_action_us, o.seen_deleted, o.seen_digest, o.refused) WITH ORDINALITY
           AS a (action_us, deleted, digest, refused, place)
$$;

-- As before, but for rows of several changes each: p_limit changes at most, or those of one row.
--   users, seqs  the keys of those rows
--   more         whether others wait
--   placed       how many records of the feed have a new position
--   head         the feed's last position
DROP FUNCTION place(text, timestamptz, bigint);
CREATE FUNCTION place(p_entity text, p_until timestamptz, p_limit bigint)
RETURNS TABLE (users text[], seqs bigint[], more boolean, placed bigint, head bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_now       timestamptz;
  v_size      bigint;
  v_inserted  bigint;
  v_user      text[];
  v_item      text[];
  v_seq       bigint[];
  v_action_us bigint[];
  v_deleted   boolean[];
  v_digest    bytea[];
  v_fields    json[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'place() must see what was committed while it waited for its lock';
  END IF;
  -- A position that somebody has seen must not be given away again after a crash.
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  SELECT h.position INTO head FROM feed_head h WHERE h.entity = p_entity FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO feed_head (entity, position, horizon) VALUES (p_entity, 0, 0) ON CONFLICT (entity) DO NOTHING;
    SELECT h.position INTO head FROM feed_head h WHERE h.entity = p_entity FOR UPDATE;
  END IF;

  -- Read under the lock, in a snapshot of its own: what another sequencer placed and deleted meanwhile is not here, so
  -- that a purge, which takes the same lock, never sees its work undone.
  SELECT coalesce(array_agg(p.user_id) FILTER (WHERE p.at = 1), '{}'),
         coalesce(array_agg(p.last) FILTER (WHERE p.at = 1), '{}'), coalesce(bool_or(p.number < p.waiting), false),
         array_agg(p.user_id), array_agg(p.item), array_agg(p.seq), array_agg(p.action_us), array_agg(p.deleted),
         array_agg(p.digest), array_agg(p.fields), count(*)
    INTO users, seqs, more, v_user, v_item, v_seq, v_action_us, v_deleted, v_digest, v_fields, v_size
    FROM (SELECT k.waiting, max(k.place) OVER () AS number, k.user_id, k.seq AS last, i.*
            FROM (SELECT q.*, row_number() OVER w AS place, count(*) OVER () AS waiting,
                         sum(q.changes) OVER w AS changes_all,
                         sum(octet_length(q.user_id)) OVER w AS names_bytes,
                         sum(q.fields_bytes) OVER w AS fields_bytes_all
                    FROM (SELECT ctid AS tid, user_id, seq, written_at, cardinality(deleted) AS changes,
                                 pg_column_size(fields) AS fields_bytes
                            FROM feed_pending
                           WHERE entity = p_entity AND written_at <= p_until
                           ORDER BY written_at LIMIT p_limit + 1) q
                  WINDOW w AS (ORDER BY q.written_at ROWS UNBOUNDED PRECEDING)) k
            JOIN feed_pending p ON p.ctid = k.tid AND (p.user_id, p.entity, p.seq) = (k.user_id, p_entity, k.seq)
           CROSS JOIN unnest(p.items, p.seqs, p.action_us, p.deleted, p.digests, p.fields) WITH ORDINALITY
                   AS i (item, seq, action_us, deleted, digest, fields, at)
           WHERE k.place = 1 OR (k.changes_all <= p_limit AND k.names_bytes <= 49152
                                 AND coalesce(k.fields_bytes_all, 0) <= 8388608)
           ORDER BY k.place, i.at) p;
  -- A record may be in several rows: its greatest seq is kept.
  IF cardinality(users) > (SELECT count(DISTINCT u.user_id) FROM unnest(users) AS u (user_id)) THEN
    SELECT array_agg(l.user_id), array_agg(l.item), array_agg(l.seq), array_agg(l.action_us), array_agg(l.deleted),
           array_agg(l.digest), array_agg(l.fields), count(*)
      INTO v_user, v_item, v_seq, v_action_us, v_deleted, v_digest, v_fields, v_size
      FROM (SELECT d.*
              FROM (SELECT DISTINCT ON (i.user_id, i.item) i.*
                      FROM unnest(v_user, v_item, v_seq, v_action_us, v_deleted, v_digest, v_fields) WITH ORDINALITY
                             AS i (user_id, item, seq, action_us, deleted, digest, fields, place)
                     ORDER BY i.user_id, i.item, i.seq DESC) d
             ORDER BY d.place) l;
  END IF;

  -- What the feed has moves to its new place; what it has not yet is added. Nobody else does, while we have the lock.
  v_now := clock_timestamp();
  UPDATE feed f
     SET position = head + i.place, seq = i.seq, action_us = i.action_us, deleted = i.deleted, digest = i.digest,
         fields = i.fields, placed_at = v_now
    FROM unnest(v_user, v_item, v_seq, v_action_us, v_deleted, v_digest, v_fields) WITH ORDINALITY
           AS i (user_id, item, seq, action_us, deleted, digest, fields, place)
   WHERE (f.entity, f.user_id, f.item) = (p_entity, i.user_id, i.item) AND (f.user_id, f.item) >= (i.user_id, i.item)
     AND f.seq < i.seq;
  GET DIAGNOSTICS placed = ROW_COUNT;
  IF placed < v_size THEN
    INSERT INTO feed (entity, user_id, item, position, seq, action_us, deleted, digest, fields, placed_at)
    SELECT p_entity, i.user_id, i.item, head + i.place, i.seq, i.action_us, i.deleted, i.digest, i.fields, v_now
      FROM unnest(v_user, v_item, v_seq, v_action_us, v_deleted, v_digest, v_fields) WITH ORDINALITY
             AS i (user_id, item, seq, action_us, deleted, digest, fields, place)
    ON CONFLICT (entity, user_id, item) DO NOTHING;
    GET DIAGNOSTICS v_inserted = ROW_COUNT;
    placed := placed + v_inserted;
  END IF;
  IF placed > 0 THEN
    head := head + v_size;
    UPDATE feed_head h SET position = head WHERE h.entity = p_entity;
  END IF;
  RETURN NEXT;
END
$$;

-- Exactly those rows wait no longer. Where a crash undoes this, they are met again, and found placed: no reason to wait
-- for the disk. A function for the sake of its settings: planning it anew costs more than doing it.
CREATE FUNCTION settle(p_entity text, p_users text[], p_seqs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  DELETE FROM feed_pending p
   USING unnest(p_users, p_seqs) AS i (user_id, seq)
   WHERE (p.user_id, p.entity, p.seq) = (i.user_id, p_entity, i.seq) AND (p.entity, p.seq) >= (p_entity, i.seq);
END
$$;

-- As before, by what the rows of feed_pending hold now.
CREATE OR REPLACE FUNCTION purge(p_entity text, p_before timestamptz, p_after bigint, p_limit bigint)
RETURNS TABLE (upto bigint, seen bigint, removed bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_horizon   bigint;
  v_users     text[];
  v_items     text[];
  v_positions bigint[];
  v_waiting   bigint[];
BEGIN
  SELECT h.horizon INTO v_horizon FROM feed_head h WHERE h.entity = p_entity FOR UPDATE;
  SELECT coalesce(array_agg(t.user_id), '{}'), coalesce(array_agg(t.item), '{}'), coalesce(array_agg(t.position), '{}')
    INTO v_users, v_items, v_positions
    FROM (SELECT f.user_id, f.item, f.position FROM feed f
           WHERE f.entity = p_entity AND f.deleted AND f.position > p_after AND f.position <= v_horizon
             AND f.placed_at < p_before
           ORDER BY f.position LIMIT p_limit) t;
  SELECT coalesce(array_agg(i.position), '{}') INTO v_waiting
    FROM unnest(v_users, v_items, v_positions) AS i (user_id, item, position)
    JOIN feed_pending p ON (p.user_id, p.entity) = (i.user_id, p_entity) AND i.item = ANY (p.items);
  DELETE FROM feed f
   USING unnest(v_users, v_items, v_positions) AS i (user_id, item, position)
   WHERE (f.entity, f.user_id, f.item) = (p_entity, i.user_id, i.item) AND f.position = i.position
     AND i.position <> ALL (v_waiting);
  GET DIAGNOSTICS removed = ROW_COUNT;
  seen := cardinality(v_positions);
  upto := v_positions[seen];
  RETURN NEXT;
END
$$;
