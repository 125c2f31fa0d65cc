-- Each feed has a head, which gives no position away twice; and until this transaction ends nothing else is placed, and
-- nothing purged.
INSERT INTO feed_head AS h (entity, position, horizon)
SELECT entity, max(position), 0
  FROM (SELECT entity, position FROM feed UNION ALL SELECT DISTINCT entity, 0 FROM records) AS known (entity, position)
 GROUP BY entity ORDER BY entity
ON CONFLICT (entity) DO UPDATE SET position = greatest(h.position, excluded.position)
