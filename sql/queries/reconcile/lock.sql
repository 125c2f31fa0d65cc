-- Nothing is placed, and nothing purged, until this transaction ends.
SELECT FROM feed_head ORDER BY entity FOR UPDATE
