-- What is placed, or superseded, or of another history, waits no longer.
DELETE FROM feed_pending p
 WHERE NOT EXISTS (
   SELECT FROM unnest(p.items, p.seqs, p.action_us, p.deleted, p.digests) AS i (item, seq, action_us, deleted, digest)
     JOIN records r ON (r.user_id, r.entity, r.item) = (p.user_id, p.entity, i.item)
     LEFT JOIN feed f ON (f.entity, f.user_id, f.item) = (p.entity, p.user_id, i.item)
    WHERE (r.seq > i.seq OR (r.seq, r.action_us, r.deleted, r.digest) = (i.seq, i.action_us, i.deleted, i.digest))
      AND (f.seq < i.seq OR f.seq IS NULL))
