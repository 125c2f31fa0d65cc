-- What of an entity changed for a user after seq $3, the oldest change first, $4 of them at most, as list.sql gives it.
SELECT s.seq AS top, r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
  FROM streams s
  LEFT JOIN LATERAL (
    SELECT r.entity, r.item, r.action_us, r.deleted, r.fields, r.seq
      FROM records r
     WHERE r.user_id || '/' || r.entity = $1 || '/' || $2 AND r.user_id = $1 AND r.entity = $2
       AND r.stretch >= CASE WHEN strpos($1, '//') > 0 THEN $3::bigint ELSE $3::bigint / 1024 END AND r.seq > $3
     ORDER BY r.stretch, r.seq
     LIMIT $4) r ON true
 WHERE s.user_id = $1
 ORDER BY r.seq
