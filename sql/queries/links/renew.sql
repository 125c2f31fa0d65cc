-- Keeps links that are still worked on for $5 seconds more: those of the lease, with the secret that it was taken for.
-- In order, as all that lock several links: so none waits for another that waits for it.
WITH held AS (
    SELECT l.user_id FROM links AS l JOIN unnest($2::text[], $3::bigint[]) AS h (user_id, revision) USING (user_id, revision)
     WHERE l.peer = $1 AND l.lease = $4
     ORDER BY l.user_id FOR UPDATE OF l)
UPDATE links AS l
   SET leased_until = clock_timestamp() + $5 * interval '1 second',
       due_at = clock_timestamp() + $5 * interval '1 second'
  FROM held
 WHERE l.user_id = held.user_id AND l.peer = $1
RETURNING l.user_id
