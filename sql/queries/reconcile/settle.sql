-- What is placed, or superseded, or of another history, waits no longer.
DELETE FROM feed_pending p
 WHERE NOT EXISTS (
   SELECT FROM (
     SELECT w.user_id, w.entity, w.seq
       FROM feed_pending w
      CROSS JOIN unnest(w.items, w.seqs, w.action_us, w.deleted, w.digests) AS i (item, seq, action_us, deleted, digest)
       JOIN records r ON (r.user_id, r.entity, r.item) = (w.user_id, w.entity, i.item)
       LEFT JOIN feed f ON (f.entity, f.user_id, f.item) = (w.entity, w.user_id, i.item)
      WHERE (r.seq > i.seq OR (r.seq, r.action_us, r.deleted, r.digest) = (i.seq, i.action_us, i.deleted, i.digest))
        AND (f.seq < i.seq OR f.seq IS NULL)) left_over
    WHERE (left_over.user_id, left_over.entity, left_over.seq) = (p.user_id, p.entity, p.seq))
