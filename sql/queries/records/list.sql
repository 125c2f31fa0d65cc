-- A user's records of an entity, in order, from behind item $3 ('' is before the first), $4 of them at most; and the
-- user's seq, of one instant. No row: the user never wrote. One row of nulls beside the seq: nothing is there.
SELECT s.seq AS top, r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
  FROM streams s
  LEFT JOIN LATERAL (
    SELECT r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
      FROM records r
     WHERE r.user_id = $1 AND r.entity = $2 AND r.item > $3
     ORDER BY r.item
     LIMIT $4) r ON true
 WHERE s.user_id = $1
 ORDER BY r.item
