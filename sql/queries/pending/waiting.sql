-- The entities of the $1 oldest writes that wait to be placed, those of the entities $2 passed over; how many are of
-- each, and since when the latest of these has waited.
SELECT entity, max(written_at) AS until, count(*) AS count
  FROM (SELECT entity, written_at FROM feed_pending WHERE entity <> ALL ($2::text[]) ORDER BY written_at LIMIT $1) AS oldest
 GROUP BY entity
