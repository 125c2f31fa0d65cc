-- Gives up links that were not worked on to the end: due in $5 seconds, for whoever comes.
WITH held AS (
    SELECT l.user_id FROM links AS l JOIN unnest($2::text[], $3::bigint[]) AS h (user_id, revision) USING (user_id, revision)
     WHERE l.peer = $1 AND l.lease = $4
     ORDER BY l.user_id FOR UPDATE OF l)
UPDATE links AS l
   SET leased_until = '-infinity', lease = NULL, hurried = false, due_at = clock_timestamp() + $5 * interval '1 second'
  FROM held
 WHERE l.user_id = held.user_id AND l.peer = $1
