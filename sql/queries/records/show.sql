-- A user's records of an entity, as list.sql has them, printed as JSON and joined with commas; how many there are, of how
-- many bytes of fields, and the user's seq, of one instant. No row: the user never wrote.
SELECT s.seq AS top, r.shown, r.number, r.bytes
  FROM streams s
  CROSS JOIN LATERAL (
    SELECT convert_to(string_agg(show_record(r.item, r.action_us, r.deleted, r.fields), ','), 'UTF8') AS shown,
           count(*) AS number, sum(octet_length(r.fields::text)) AS bytes
      FROM (
        SELECT r.item, r.action_us, r.deleted, r.fields
          FROM records r
         WHERE r.user_id = $1 AND r.entity = $2
         ORDER BY r.item
         LIMIT $3) r) r
 WHERE s.user_id = $1
