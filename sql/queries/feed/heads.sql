-- The last position of every feed.
SELECT entity, position FROM feed_head
