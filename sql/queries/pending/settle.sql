-- Exactly those changes wait no longer. Where a crash undoes this, they are met again, and found placed: no reason to
-- wait for the disk.
DELETE FROM feed_pending p
 USING unnest($2::text[], $3::text[], $4::bigint[]) AS i (user_id, item, seq),
       set_config('synchronous_commit', 'off', true)
 WHERE (p.user_id, p.entity, p.item, p.seq) = (i.user_id, $1, i.item, i.seq)
