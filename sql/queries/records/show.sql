-- A user's records of an entity, as list.sql has them, printed as JSON and joined with commas, and the user's seq, of one
-- instant. `shown` is null where there are $3 of them or more, or more than $4 bytes of fields. No row: the user never
-- wrote.
SELECT s.seq AS top, r.shown
  FROM streams s
  CROSS JOIN LATERAL (
    SELECT CASE WHEN count(*) < $3 AND coalesce(sum(octet_length(r.fields::text)), 0) <= $4
                THEN convert_to(coalesce(string_agg(show_record(r.item, r.action_us, r.deleted, r.fields), ','), ''), 'UTF8')
           END AS shown
      FROM (
        SELECT r.item, r.action_us, r.deleted, r.fields
          FROM records r
         WHERE r.user_id = $1 AND r.entity = $2
         ORDER BY r.item
         LIMIT $3) r) r
 WHERE s.user_id = $1
