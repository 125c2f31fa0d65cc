-- Likewise what waits to be placed, where all that one write left is so.
DELETE FROM feed_pending p
 WHERE NOT EXISTS (
   SELECT FROM unnest(p.items, p.seqs, p.action_us, p.deleted, p.digests) AS i (item, seq, action_us, deleted, digest)
     JOIN records r ON (r.user_id, r.entity, r.item) = (p.user_id, p.entity, i.item)
    WHERE r.seq > i.seq OR (r.seq, r.action_us, r.deleted, r.digest) = (i.seq, i.action_us, i.deleted, i.digest))
