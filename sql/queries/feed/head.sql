-- The last position of one feed; no row: nothing was ever placed in it.
SELECT position FROM feed_head WHERE entity = $1
