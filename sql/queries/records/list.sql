-- All of a user's records of one entity, and the user's seq, of one instant. No row: the user never wrote.
-- One row of nulls beside the seq: the user has nothing in this entity.
SELECT s.seq, r.item, r.action_us, r.deleted
  FROM streams s
  LEFT JOIN records r ON r.user_id = s.user_id AND r.entity = $2
 WHERE s.user_id = $1
 ORDER BY r.item
