-- What no feed has is to be placed. But for tombstones of which a feed has nothing: those were purged, and who reads a
-- feed from nothing, as everybody does in a new epoch, misses nothing by it.
INSERT INTO feed_pending (user_id, entity, item, seq, action_us, deleted, digest, fields)
SELECT r.user_id, r.entity, r.item, r.seq, r.action_us, r.deleted, r.digest, r.fields
  FROM records r
  LEFT JOIN feed f ON (f.entity, f.user_id, f.item) = (r.entity, r.user_id, r.item)
 WHERE f.seq < r.seq OR (f.seq IS NULL AND NOT r.deleted)
ON CONFLICT (user_id, entity, item, seq) DO NOTHING
