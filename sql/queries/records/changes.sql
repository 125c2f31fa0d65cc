-- What of one entity changed for a user after seq $3, in the shape of list.sql.
SELECT s.seq, r.item, r.action_us, r.deleted
  FROM streams s
  LEFT JOIN records r ON r.user_id = s.user_id AND r.entity = $2 AND r.seq > $3
 WHERE s.user_id = $1
 ORDER BY r.item
