-- As changes.sql, of the entities $2, $4 records of all at most.
SELECT s.seq AS top, r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
  FROM streams s
  LEFT JOIN LATERAL (
    SELECT one.*
      FROM unnest($2::text[]) AS e (entity)
     CROSS JOIN LATERAL (
       SELECT r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
         FROM records r
        WHERE r.user_id || '/' || r.entity = $1 || '/' || e.entity AND r.user_id = $1 AND r.entity = e.entity
          AND r.stretch >= CASE WHEN strpos($1, '//') > 0 THEN $3::bigint ELSE $3::bigint / 1024 END AND r.seq > $3
        ORDER BY r.stretch, r.seq
        LIMIT $4) one
     ORDER BY one.seq
     LIMIT $4) r ON true
 WHERE s.user_id = $1
 ORDER BY r.seq
