-- Whose records have a place in a feed after position $2, $3 of them at most.
SELECT DISTINCT user_id
  FROM (SELECT user_id FROM feed WHERE entity = $1 AND position > $2 ORDER BY position LIMIT $3) AS placed
