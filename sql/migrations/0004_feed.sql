-- The feeds: one an entity, in one total order, tombstones included, each record once, at its latest position.
-- Keyed by entity, so that a feed lies on one shard, and one snapshot shows all of it.

-- Where each feed ends, and where it begins to be whole. `position`: no greater one was ever given away. `horizon`:
-- tombstones at or below it may have been purged. The lock of its row, held from when positions are given away until
-- they are committed, makes the order of positions the order of commits: who sees one sees all below it.
CREATE TABLE feed_head (
  entity   text COLLATE "C" PRIMARY KEY,
  position bigint NOT NULL,
  horizon  bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE feed (
  entity    text COLLATE "C" NOT NULL,
  user_id   text COLLATE "C" NOT NULL,
  item      text COLLATE "C" NOT NULL,
  position  bigint  NOT NULL,
  seq       bigint  NOT NULL,
  action_us bigint  NOT NULL,
  deleted   boolean NOT NULL,
  digest    bytea   NOT NULL,
  fields    json,
  placed_at timestamptz NOT NULL,
  PRIMARY KEY (entity, user_id, item)
);
CREATE UNIQUE INDEX feed_by_position ON feed (entity, position);
CREATE INDEX feed_tombstones ON feed (entity, position) WHERE deleted;  -- what a purge looks through

-- A queue: as many rows die as are born, and each look at it walks over the dead.
ALTER TABLE feed_pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Gives positions to what of an entity waits in feed_pending since p_until or longer, p_limit rows of it at most, and
-- commits with the statement that calls it: its lock is held for no round trip. Whoever called then deletes, in a
-- transaction of its own, the rows that it was told: their versions are in the feed, or superseded there.
-- Fewer rows where they are large. What is told fits into the buffers of a socket: PostgreSQL sends it before it
-- commits, and who has stopped reading would else hold the lock. And 8 MiB of fields are placed well within any limit.
--   users, items, seqs  those rows, place by place
--   more                whether others wait
--   placed              how many records of the feed have a new position
--   head                the feed's last position
-- A second sequencer, or a late or a killed one, meets what is placed already, and changes nothing.
CREATE FUNCTION place(p_entity text, p_until timestamptz, p_limit bigint)
RETURNS TABLE (users text[], items text[], seqs bigint[], more boolean, placed bigint, head bigint)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_now       timestamptz;
  v_action_us bigint[];
  v_deleted   boolean[];
  v_digest    bytea[];
  v_fields    text[];
  v_given     bigint;
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
  SELECT coalesce(array_agg(p.user_id), '{}'), coalesce(array_agg(p.item), '{}'), coalesce(array_agg(p.seq), '{}'),
         array_agg(p.action_us), array_agg(p.deleted), array_agg(p.digest), array_agg(p.fields)
    INTO users, items, seqs, v_action_us, v_deleted, v_digest, v_fields
    FROM (SELECT q.*, row_number() OVER w AS place,
                 sum(octet_length(q.user_id) + octet_length(q.item)) OVER w AS names_bytes,
                 sum(octet_length(q.fields)) OVER w AS fields_bytes
            FROM (SELECT user_id, item, seq, action_us, deleted, digest, fields::text, written_at
                    FROM feed_pending
                   WHERE entity = p_entity AND written_at <= p_until
                   ORDER BY written_at LIMIT p_limit + 1) q
          WINDOW w AS (ORDER BY q.written_at ROWS UNBOUNDED PRECEDING)) p
   WHERE p.place = 1 OR (p.place <= p_limit AND p.names_bytes <= 49152 AND coalesce(p.fields_bytes, 0) <= 8388608);
  more := EXISTS (SELECT FROM feed_pending
                   WHERE entity = p_entity AND written_at <= p_until
                   OFFSET cardinality(users) LIMIT 1);

  v_now := clock_timestamp();
  INSERT INTO feed AS f (entity, user_id, item, position, seq, action_us, deleted, digest, fields, placed_at)
  SELECT p_entity, l.user_id, l.item, head + row_number() OVER (ORDER BY l.place),
         l.seq, l.action_us, l.deleted, l.digest, l.fields::json, v_now
    FROM (SELECT DISTINCT ON (i.user_id, i.item) i.*
            FROM unnest(users, items, seqs, v_action_us, v_deleted, v_digest, v_fields) WITH ORDINALITY
                   AS i (user_id, item, seq, action_us, deleted, digest, fields, place)
           ORDER BY i.user_id, i.item, i.seq DESC) l
  ON CONFLICT (entity, user_id, item) DO UPDATE SET
    position = excluded.position, seq = excluded.seq, action_us = excluded.action_us, deleted = excluded.deleted,
    digest = excluded.digest, fields = excluded.fields, placed_at = excluded.placed_at
  WHERE f.seq < excluded.seq;
  GET DIAGNOSTICS placed = ROW_COUNT;

  IF placed > 0 THEN
    SELECT count(DISTINCT (i.user_id, i.item)) INTO v_given FROM unnest(users, items) AS i (user_id, item);
    head := head + v_given;
    UPDATE feed_head h SET position = head WHERE h.entity = p_entity;
  END IF;
  RETURN NEXT;
END
$$;

-- Removes tombstones from a feed that were placed before p_before, of those above p_after the first p_limit, up to the
-- horizon, which was raised, and committed, beforehand: nobody reads on from below it.
--   upto     the position of the last that was looked at; null: there is none any more
--   seen     how many were looked at
--   removed  how many are gone; one whose record has changed, and waits to be placed, stays for now
CREATE FUNCTION purge(p_entity text, p_before timestamptz, p_after bigint, p_limit bigint)
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
    JOIN feed_pending p ON (p.user_id, p.entity, p.item) = (i.user_id, p_entity, i.item);
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
