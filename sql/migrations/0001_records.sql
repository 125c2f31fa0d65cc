-- The records, the counter of each user's changes, what the feed has still to place, and the epoch.
-- Every table that grows is keyed first by user_id, so that these files run on Citus too.
-- Text that takes part in an order is COLLATE "C": SQL and Python must not disagree.

-- One row a user. seq counts that user's changes; its row lock makes seq order commit order.
-- A row is never deleted, and its seq never lowered.
CREATE TABLE streams (
  user_id text COLLATE "C" PRIMARY KEY,
  seq     bigint NOT NULL
) WITH (fillfactor = 50);

-- One row a record, tombstones included and kept for good: an old ADD from a phone that was offline for a month
-- must still lose. fields is json, not jsonb, which would rewrite numbers.
CREATE TABLE records (
  user_id   text COLLATE "C" NOT NULL,
  entity    text COLLATE "C" NOT NULL,
  item      text COLLATE "C" NOT NULL,
  action_us bigint  NOT NULL,
  deleted   boolean NOT NULL,
  digest    bytea   NOT NULL,
  fields    json,
  seq       bigint  NOT NULL,
  PRIMARY KEY (user_id, entity, item)
);
CREATE INDEX records_by_seq ON records (user_id, entity, seq);

-- Full versions that were committed and not yet placed in a feed.
CREATE TABLE feed_pending (
  user_id   text COLLATE "C" NOT NULL,
  entity    text COLLATE "C" NOT NULL,
  item      text COLLATE "C" NOT NULL,
  seq       bigint  NOT NULL,
  action_us bigint  NOT NULL,
  deleted   boolean NOT NULL,
  digest    bytea   NOT NULL,
  fields    json,
  PRIMARY KEY (user_id, entity, item, seq)
);

-- One row. Cursors and ETags are sealed with `secret`; where the database is another one than the row says
-- (restored, promoted), a new epoch begins and old cursors end.
CREATE TABLE epoch (
  singleton         boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id                uuid   NOT NULL,
  secret            bytea  NOT NULL,
  system_identifier bigint NOT NULL,
  database_oid      bigint NOT NULL,
  timeline          bigint NOT NULL
);

-- The one way into `records`. Arrays of equal length, one place a record, at most one record a key, in the order of
-- arrival; many users at once. Gives for each record, by its place:
--   seen_*   the version that stood before (null: none), read under the lock of the user's stream
--   refused  true where it would give its user more than p_item_limit items of the entity (null: no limit)
-- Every other record wins exactly where its version is greater than the one seen: the law of core/merge.py.
-- A call that changes nothing locks nothing and writes nothing.
-- The settings: one plan for all calls (planning these joins anew at each costs more than running them), and one by
-- index (a plan made while the tables are empty would read them whole, and be kept while they grow). docs/adr/0001.
CREATE FUNCTION push(
  p_user text[], p_entity text[], p_item text[],
  p_action_us bigint[], p_deleted boolean[], p_digest bytea[], p_fields text[],
  p_item_limit bigint
) RETURNS TABLE (place bigint, seen_action_us bigint, seen_deleted boolean, seen_digest bytea, refused boolean)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_users   text[];    -- who has something to write
  v_counts  bigint[];  -- how many records each
  v_wanted  bigint;
  v_new     bigint;
  v_written bigint;
  v_refused bigint[] := '{}';
BEGIN
  -- Look first, without a lock. Versions only grow, so what loses here has lost for good.
  SELECT array_agg(c.user_id ORDER BY c.user_id), array_agg(c.n ORDER BY c.user_id), sum(c.n), sum(c.new)
    INTO v_users, v_counts, v_wanted, v_new
    FROM (SELECT i.user_id COLLATE "C" AS user_id, count(*) AS n, count(*) FILTER (WHERE r.user_id IS NULL) AS new
            FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest)
                   AS i (user_id, entity, item, action_us, deleted, digest)
            LEFT JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
           WHERE r.user_id IS NULL OR (i.action_us, i.deleted, i.digest) > (r.action_us, r.deleted, r.digest)
           GROUP BY 1) c;

  -- Lock the users' streams, always in the same order, and take as many numbers as may be needed.
  IF v_wanted > 0 THEN
    INSERT INTO streams AS s (user_id, seq)
    SELECT u.user_id, u.n FROM unnest(v_users, v_counts) AS u (user_id, n) ORDER BY u.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET seq = s.seq + excluded.seq;
  END IF;

  -- Whoever comes with new items when the user holds p_item_limit of them is refused, the later ones first.
  IF v_new > 0 AND p_item_limit IS NOT NULL THEN
    SELECT coalesce(array_agg(n.place), '{}') INTO v_refused
      FROM (SELECT i.place, i.user_id, i.entity,
                   row_number() OVER (PARTITION BY i.user_id, i.entity ORDER BY i.place) AS nth
              FROM unnest(p_user, p_entity, p_item) WITH ORDINALITY AS i (user_id, entity, item, place)
              LEFT JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
             WHERE r.user_id IS NULL) n
      JOIN (SELECT h.user_id, h.entity, count(r.item) AS items
              FROM (SELECT DISTINCT i.user_id, i.entity FROM unnest(p_user, p_entity) AS i (user_id, entity)) h
              LEFT JOIN records r ON (r.user_id, r.entity) = (h.user_id, h.entity)
             GROUP BY 1, 2) held
        ON (held.user_id, held.entity) = (n.user_id, n.entity)
     WHERE held.items + n.nth > p_item_limit;
  END IF;

  RETURN QUERY
  SELECT i.place, r.action_us, r.deleted, r.digest, i.place = ANY (v_refused)
    FROM unnest(p_user, p_entity, p_item) WITH ORDINALITY AS i (user_id, entity, item, place)
    LEFT JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item);

  IF v_wanted > 0 THEN
    WITH written AS (
      INSERT INTO records AS r (user_id, entity, item, action_us, deleted, digest, fields, seq)
      SELECT i.user_id, i.entity, i.item, i.action_us, i.deleted, i.digest, i.fields::json,
             s.seq - u.n + row_number() OVER (PARTITION BY i.user_id ORDER BY i.place)
        FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, p_fields) WITH ORDINALITY
               AS i (user_id, entity, item, action_us, deleted, digest, fields, place)
        JOIN unnest(v_users, v_counts) AS u (user_id, n) ON u.user_id = i.user_id
        JOIN streams s ON s.user_id = i.user_id
        LEFT JOIN records seen ON (seen.user_id, seen.entity, seen.item) = (i.user_id, i.entity, i.item)
       WHERE i.place <> ALL (v_refused)
         AND (seen.user_id IS NULL OR (i.action_us, i.deleted, i.digest) > (seen.action_us, seen.deleted, seen.digest))
      ON CONFLICT (user_id, entity, item) DO UPDATE SET
        action_us = excluded.action_us, deleted = excluded.deleted, digest = excluded.digest,
        fields = excluded.fields, seq = excluded.seq
      WHERE (excluded.action_us, excluded.deleted, excluded.digest) > (r.action_us, r.deleted, r.digest)
      RETURNING r.user_id, r.entity, r.item, r.seq, r.action_us, r.deleted, r.digest, r.fields
    )
    INSERT INTO feed_pending (user_id, entity, item, seq, action_us, deleted, digest, fields)
    SELECT * FROM written;
    GET DIAGNOSTICS v_written = ROW_COUNT;

    -- A neighbour was faster, or the limit refused some: give back the numbers that nobody took.
    IF v_written < v_wanted THEN
      UPDATE streams s
         SET seq = s.seq - u.n + (
               SELECT count(*)
                 FROM unnest(p_user, p_entity, p_item) AS i (user_id, entity, item)
                 JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
                WHERE i.user_id = s.user_id AND r.seq > s.seq - u.n)
        FROM unnest(v_users, v_counts) AS u (user_id, n)
       WHERE s.user_id = u.user_id;
    END IF;
  END IF;
END
$$;
