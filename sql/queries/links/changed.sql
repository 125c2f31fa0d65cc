-- Whose records of an entity changed behind position $2 of its feed, each with the last seq of that, and how far this
-- looked: over $3 changes.
SELECT f.user_id, max(f.seq) AS seq, max(f.position) AS position
  FROM (SELECT user_id, seq, position FROM feed WHERE entity = $1 AND position > $2 ORDER BY position LIMIT $3) f
 GROUP BY f.user_id
