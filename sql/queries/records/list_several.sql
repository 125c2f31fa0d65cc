-- As list.sql, of the entities $2, each from behind its item in $3, by entity and item, $4 records of all at most.
-- Of one entity it would say the same, and take half as long again.
SELECT s.seq AS top, r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
  FROM streams s
  LEFT JOIN LATERAL (
    SELECT one.*
      FROM unnest($2::text[], $3::text[]) AS e (entity, item)
     CROSS JOIN LATERAL (
       SELECT r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
         FROM records r
        WHERE r.user_id = $1 AND r.entity = e.entity AND r.item > e.item
        ORDER BY r.item
        LIMIT $4) one
     ORDER BY one.entity, one.item
     LIMIT $4) r ON true
 WHERE s.user_id = $1
 ORDER BY r.entity, r.item
