-- What page.sql gives, where no change has fields, printed as JSON and joined with commas; the last position, whether
-- others follow, and how many changes have fields and are left out. `own` ($4): as print_owner has it.
SELECT h.position AS head, h.horizon, f.shown, f.last, f.rich,
       f.number = $3 AND (SELECT n.position FROM feed n WHERE n.entity = $1 AND n.position > f.last
                           ORDER BY n.position LIMIT 1) IS NOT NULL AS more
  FROM feed_head h
  CROSS JOIN LATERAL (
    SELECT convert_to(
             string_agg('{"position":' || f.position || ',"user":' || print_owner(f.user_id, $4) || ','
                        || print_version(f.item, f.action_us, f.deleted, NULL), ',')
               FILTER (WHERE f.fields IS NULL), 'UTF8') AS shown,
           max(f.position) AS last, count(*) AS number, count(f.fields) AS rich
      FROM (
        SELECT f.position, f.user_id, f.item, f.action_us, f.deleted, f.fields
          FROM feed f
         WHERE f.entity = $1 AND f.position > $2
         ORDER BY f.position
         LIMIT $3) f) f
 WHERE h.entity = $1
