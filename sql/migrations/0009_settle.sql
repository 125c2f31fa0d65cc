-- As before, but with the entity beside each user, as if they could differ: where the planner takes feed_pending for
-- empty, which it does until that was first vacuumed, it would else find the entity's rows by walking through the whole
-- index, dead ones too, and compare each with each that came.
CREATE OR REPLACE FUNCTION settle(p_entity text, p_users text[], p_seqs bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  DELETE FROM feed_pending p
   USING unnest(p_users, array_fill(p_entity, ARRAY[cardinality(p_users)]), p_seqs) AS i (user_id, entity, seq)
   WHERE (p.user_id, p.entity, p.seq) = (i.user_id, i.entity, i.seq) AND (p.entity, p.seq) >= (i.entity, i.seq);
END
$$;
