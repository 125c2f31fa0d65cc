-- Likewise what waits to be placed.
DELETE FROM feed_pending p
 WHERE NOT EXISTS (
   SELECT FROM records r
    WHERE (r.user_id, r.entity, r.item) = (p.user_id, p.entity, p.item)
      AND (r.seq > p.seq
           OR (r.seq, r.action_us, r.deleted, r.digest) = (p.seq, p.action_us, p.deleted, p.digest)))
