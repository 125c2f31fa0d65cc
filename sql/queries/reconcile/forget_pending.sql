-- Likewise what waits to be placed, where all that one write left is so.
DELETE FROM feed_pending p
 WHERE NOT EXISTS (
   SELECT FROM (
     SELECT w.user_id, w.entity, w.seq
       FROM feed_pending w
      CROSS JOIN unnest(w.items, w.seqs, w.action_us, w.deleted, w.digests) AS i (item, seq, action_us, deleted, digest)
       JOIN records r ON (r.user_id, r.entity, r.item) = (w.user_id, w.entity, i.item)
      WHERE r.seq > i.seq OR (r.seq, r.action_us, r.deleted, r.digest) = (i.seq, i.action_us, i.deleted, i.digest)) known
    WHERE (known.user_id, known.entity, known.seq) = (p.user_id, p.entity, p.seq))
