-- What a feed has not, or not the latest of, is placed. But for tombstones of which it has nothing, where none waits
-- either: those were purged, and who reads a feed from nothing, as everybody does in a new epoch, misses nothing by it.
INSERT INTO feed AS f (entity, user_id, item, position, seq, action_us, deleted, digest, fields, placed_at)
SELECT r.entity, r.user_id, r.item,
       h.position + row_number() OVER (PARTITION BY r.entity ORDER BY r.user_id, r.seq),
       r.seq, r.action_us, r.deleted, r.digest, r.fields, clock_timestamp()
  FROM records r
  JOIN feed_head h ON h.entity = r.entity
  LEFT JOIN feed p ON (p.entity, p.user_id, p.item) = (r.entity, r.user_id, r.item)
  LEFT JOIN (SELECT DISTINCT w.user_id, w.entity, i.item FROM feed_pending w CROSS JOIN unnest(w.items) AS i (item)) w
         ON (w.user_id, w.entity, w.item) = (r.user_id, r.entity, r.item)
 WHERE p.seq < r.seq
    OR (p.seq IS NULL AND (NOT r.deleted OR w.item IS NOT NULL))
ON CONFLICT (entity, user_id, item) DO UPDATE SET
  position = excluded.position, seq = excluded.seq, action_us = excluded.action_us, deleted = excluded.deleted,
  digest = excluded.digest, fields = excluded.fields, placed_at = excluded.placed_at
