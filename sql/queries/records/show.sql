-- Each user's ($1) records of an entity ($2), place by place, as list.sql has them, printed as JSON and joined with commas,
-- and the user's seq, of one instant. `shown` is null where there are $3 of them or more, or more than $4 bytes of fields.
-- `seq` is null for a user who never wrote.
SELECT i.place, (SELECT s.seq FROM streams s WHERE s.user_id = i.user_id) AS seq, r.shown
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS i (user_id, entity, place)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN count(*) < $3 AND coalesce(sum(octet_length(r.fields::text)), 0) <= $4
                THEN convert_to(coalesce('{' || string_agg(print_version(r.item, r.action_us, r.deleted, r.fields), ',{'), ''), 'UTF8')
           END AS shown
      FROM (
        SELECT r.item, r.action_us, r.deleted, r.fields
          FROM records r
         WHERE r.user_id = i.user_id AND r.entity = i.entity
         ORDER BY r.item
         LIMIT $3) r) r
