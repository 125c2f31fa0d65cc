-- A record as the protocol shows it, printed where it is read: what http/wire.py prints, to the byte. Functions of one
-- expression, which is put where they are called; STABLE as what they are made of is, or it would not be.

-- An actionDate: milliseconds, or microseconds where it needs them. As JSON a timestamp has one form, whatever the session's
-- settings. It has no zeros at the end: so one more microsecond is printed where three digits are wanted, and the zeros are
-- put back where six are.
CREATE FUNCTION show_date(action_us bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN action_us % 1000 = 0
    THEN substr(to_json(timestamp 'epoch' + (action_us + 1) * interval '1 microsecond')::text, 2, 23)
    ELSE rpad(trim('"' FROM to_json(timestamp 'epoch' + action_us * interval '1 microsecond')::text), 26, '0')
  END || 'Z'
$$;

CREATE FUNCTION show_record(item text, action_us bigint, deleted boolean, fields json) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT '{"item":' || to_json(item)::text || ',"actionDate":"' || show_date(action_us) || '","action":"'
         || CASE WHEN deleted THEN 'DELETE' ELSE 'ADD' END || '"' || coalesce(',"fields":' || fields::text, '') || '}'
$$;

-- Whose a change is: `own` is the beginning of the user_id of all whose namespace goes without saying.
CREATE FUNCTION show_owner(user_id text, own text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN starts_with(user_id, own) THEN '"user":' || to_json(substr(user_id, length(own) + 1))::text
    WHEN split_part(user_id, '/', 2) = '' THEN '"user":null'
    ELSE '"user":' || to_json(regexp_replace(user_id, '^[^/]*/[^/]*/', ''))::text
         || ',"namespace":' || to_json(split_part(user_id, '/', 2))::text
  END
$$;

-- As before, but that many users in one statement are no reason to count what each has: requests share statements now.
CREATE OR REPLACE FUNCTION push(
  p_user text[], p_entity text[], p_item text[],
  p_action_us bigint[], p_deleted boolean[], p_digest bytea[], p_fields text[],
  p_item_limit bigint[]
) RETURNS TABLE (place bigint, seen_action_us bigint, seen_deleted boolean, seen_digest bytea, refused boolean)
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
  v_size    int := coalesce(cardinality(p_user), 0);
  v_left    int := v_size;    -- how many may still win
  v_users   text[] := '{}';   -- whose streams are locked,
  v_tops    bigint[] := '{}'; -- the greatest number of theirs that is not given away yet,
  v_taken   bigint[] := '{}'; -- how many were taken,
  v_won     boolean[] := '{}'; -- and whether any was given away
  v_at      int := 0;
  v_winners int := 0;
  v_written int;
  v_held    bigint;
  v_row     record;
  -- by place; arrays that came are never asked for one element, which is found by walking through those before it
  v_lost         boolean[] := array_fill(false, ARRAY[v_size]);  -- for certain
  v_seen_us      bigint[]  := array_fill(NULL::bigint, ARRAY[v_size]);
  v_seen_deleted boolean[] := array_fill(NULL::boolean, ARRAY[v_size]);
  v_seen_digest  bytea[]   := array_fill(NULL::bytea, ARRAY[v_size]);
  v_refused      boolean[] := array_fill(false, ARRAY[v_size]);
  v_seq          bigint[]  := array_fill(NULL::bigint, ARRAY[v_size]);
BEGIN
  -- Look first, without a lock. Versions only grow, so what loses here has lost for good.
  FOR v_row IN
    SELECT i.place
      FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest) WITH ORDINALITY
             AS i (user_id, entity, item, action_us, deleted, digest, place)
      JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
                     AND (r.entity, r.item) >= (i.entity, i.item)
     WHERE (i.action_us, i.deleted, i.digest) <= (r.action_us, r.deleted, r.digest)
  LOOP
    v_lost[v_row.place] := true;
    v_left := v_left - 1;
  END LOOP;

  -- Lock the streams of the others' users, always in the same order, and take as many numbers as may be needed.
  IF v_left > 0 THEN
    FOR v_row IN
      INSERT INTO streams AS s (user_id, seq)
      SELECT i.user_id, count(*)
        FROM unnest(p_user, v_lost) AS i (user_id, lost)
       WHERE NOT i.lost
       GROUP BY i.user_id ORDER BY i.user_id COLLATE "C"
      ON CONFLICT (user_id) DO UPDATE SET seq = s.seq + excluded.seq
      RETURNING s.user_id, s.seq
    LOOP
      v_users := v_users || v_row.user_id;
      v_tops := v_tops || v_row.seq;
    END LOOP;
    v_taken := array_fill(0::bigint, ARRAY[cardinality(v_users)]);
    v_won := array_fill(false, ARRAY[cardinality(v_users)]);
  END IF;

  -- What stands now; nobody else changes it before we commit.
  FOR v_row IN
    SELECT i.place, r.action_us, r.deleted, r.digest
      FROM unnest(p_user, p_entity, p_item) WITH ORDINALITY AS i (user_id, entity, item, place)
      JOIN records r ON (r.user_id, r.entity, r.item) = (i.user_id, i.entity, i.item)
                     AND (r.entity, r.item) >= (i.entity, i.item)
  LOOP
    v_seen_us[v_row.place] := v_row.action_us;
    v_seen_deleted[v_row.place] := v_row.deleted;
    v_seen_digest[v_row.place] := v_row.digest;
  END LOOP;

  -- New items beyond the limit are refused, the later ones.
  IF array_position(v_seen_us, NULL) IS NOT NULL THEN
    v_at := 1;
    FOR v_row IN
      SELECT i.user_id, i.entity, min(i.item_limit) AS item_limit, array_agg(i.place ORDER BY i.place) AS places
        FROM unnest(p_user, p_entity, v_seen_us, p_item_limit) WITH ORDINALITY
               AS i (user_id, entity, seen_us, item_limit, place)
       WHERE i.seen_us IS NULL AND i.item_limit IS NOT NULL
       GROUP BY 1, 2
       ORDER BY i.user_id COLLATE "C"
    LOOP
      -- Nobody has more records than changes, so that a large set need not be counted while its stream is locked.
      WHILE v_users[v_at] < v_row.user_id COLLATE "C" LOOP
        v_at := v_at + 1;
      END LOOP;
      IF v_users[v_at] IS DISTINCT FROM v_row.user_id THEN  -- locked in this order, and not always told of in it
        v_at := array_position(v_users, v_row.user_id);
      END IF;
      CONTINUE WHEN v_tops[v_at] <= v_row.item_limit;
      SELECT count(*) INTO v_held FROM records r WHERE r.user_id = v_row.user_id AND r.entity = v_row.entity;
      FOR v_over IN greatest(v_row.item_limit - v_held, 0) + 1 .. cardinality(v_row.places) LOOP
        v_refused[v_row.places[v_over]] := true;
      END LOOP;
    END LOOP;
    v_at := 0;
  END IF;

  -- The law, record by record, user by user as they are locked; from a user's last record, which gets the top number.
  FOR v_row IN
    SELECT i.*
      FROM unnest(p_user, p_action_us, p_deleted, p_digest, v_lost) WITH ORDINALITY
             AS i (user_id, action_us, deleted, digest, lost, place)
     ORDER BY i.user_id COLLATE "C", i.place DESC
  LOOP
    place := v_row.place;
    seen_action_us := v_seen_us[place];
    seen_deleted := v_seen_deleted[place];
    seen_digest := v_seen_digest[place];
    refused := v_refused[place];
    RETURN NEXT;
    CONTINUE WHEN v_row.lost;
    IF v_users[v_at] IS DISTINCT FROM v_row.user_id THEN
      v_at := v_at + 1;
      IF v_users[v_at] <> v_row.user_id THEN  -- locked in this order, and not always told of in it
        v_at := array_position(v_users, v_row.user_id);
      END IF;
    END IF;
    v_taken[v_at] := v_taken[v_at] + 1;
    IF NOT refused AND (seen_action_us IS NULL OR
         (v_row.action_us, v_row.deleted, v_row.digest) > (seen_action_us, seen_deleted, seen_digest)) THEN
      v_seq[place] := v_tops[v_at];
      v_tops[v_at] := v_tops[v_at] - 1;
      v_won[v_at] := true;
      v_winners := v_winners + 1;
    END IF;
  END LOOP;

  IF v_winners > 0 THEN
    INSERT INTO records AS r (user_id, entity, item, action_us, deleted, digest, fields, seq)
    SELECT i.user_id, i.entity, i.item, i.action_us, i.deleted, i.digest, i.fields::json, i.seq
      FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, p_fields, v_seq)
             AS i (user_id, entity, item, action_us, deleted, digest, fields, seq)
     WHERE i.seq IS NOT NULL
    ON CONFLICT (user_id, entity, item) DO UPDATE SET
      action_us = excluded.action_us, deleted = excluded.deleted, digest = excluded.digest,
      fields = excluded.fields, seq = excluded.seq
    WHERE (excluded.action_us, excluded.deleted, excluded.digest) > (r.action_us, r.deleted, r.digest);
    GET DIAGNOSTICS v_written = ROW_COUNT;
    IF v_written <> v_winners THEN
      RAISE EXCEPTION 'records were written without the lock of their stream' USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO feed_pending (user_id, entity, item, seq, action_us, deleted, digest, fields)
    SELECT i.user_id, i.entity, i.item, i.seq, i.action_us, i.deleted, i.digest, i.fields::json
      FROM unnest(p_user, p_entity, p_item, p_action_us, p_deleted, p_digest, p_fields, v_seq)
             AS i (user_id, entity, item, action_us, deleted, digest, fields, seq)
     WHERE i.seq IS NOT NULL;
  END IF;

  -- A neighbour was faster, or the limit refused: a user for whom nothing changed gets back what was taken.
  IF NOT (true = ALL (v_won)) THEN
    INSERT INTO streams AS s (user_id, seq)
    SELECT u.user_id, u.n FROM unnest(v_users, v_taken, v_won) AS u (user_id, n, won) WHERE NOT u.won
    ON CONFLICT (user_id) DO UPDATE SET seq = s.seq - excluded.seq;
  END IF;
END
$$;
