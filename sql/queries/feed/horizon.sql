-- Raises the horizon of a feed to its last tombstone placed before $2. No row: there is no such feed.
UPDATE feed_head h
   SET horizon = greatest(h.horizon, (
         SELECT f.position FROM feed f
          WHERE f.entity = $1 AND f.deleted AND f.placed_at < $2
          ORDER BY f.position DESC LIMIT 1))
 WHERE h.entity = $1
RETURNING h.horizon
