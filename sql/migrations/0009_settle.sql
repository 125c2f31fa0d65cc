-- As before, but row by row, each by its whole key, which leaves the planner nothing to choose. In one statement it joined what
-- came with the table, and where it took that for nearly empty (before the first vacuum, or analysed while only dead rows
-- lay there) it walked through the whole index, dead rows too, and compared each with each.
CREATE OR REPLACE FUNCTION settle(p_entity text, p_users text[], p_seqs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
  v_user text;
  v_seq  bigint;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  FOR v_user, v_seq IN SELECT * FROM unnest(p_users, p_seqs) LOOP
    DELETE FROM feed_pending p WHERE (p.user_id, p.entity, p.seq) = (v_user, p_entity, v_seq);
  END LOOP;
END
$$;
