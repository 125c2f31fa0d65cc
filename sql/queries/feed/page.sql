-- What of an entity's feed comes after position $2, $3 rows of it at most; and the feed's head and horizon, of one
-- instant. No row: nothing was ever placed. One row of nulls beside the head: nothing comes after.
SELECT h.position AS head, h.horizon, f.position, f.user_id, f.item, f.action_us, f.deleted, f.fields
  FROM feed_head h
  LEFT JOIN LATERAL (
    SELECT f.position, f.user_id, f.item, f.action_us, f.deleted, f.fields
      FROM feed f
     WHERE f.entity = $1 AND f.position > $2
     ORDER BY f.position
     LIMIT $3) f ON true
 WHERE h.entity = $1
 ORDER BY f.position
