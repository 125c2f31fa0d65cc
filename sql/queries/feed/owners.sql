-- Whose records have the first $3 places in a feed after position $2, one row a place.
SELECT user_id FROM feed WHERE entity = $1 AND position > $2 ORDER BY position LIMIT $3
