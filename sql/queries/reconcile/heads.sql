-- No position is given away twice.
INSERT INTO feed_head AS h (entity, position, horizon)
SELECT entity, max(position), 0 FROM feed GROUP BY entity
ON CONFLICT (entity) DO UPDATE SET position = greatest(h.position, excluded.position)
