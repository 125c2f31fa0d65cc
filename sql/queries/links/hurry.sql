-- Has cycles begin $4 seconds from now, where a user's records are beyond what the link compared; of one that is worked
-- on, after that.
WITH told AS (
    SELECT l.user_id FROM links AS l JOIN unnest($2::text[], $3::bigint[]) AS changed (user_id, changed_seq) USING (user_id)
     WHERE l.peer = $1 AND NOT l.needs_login AND NOT l.hurried AND l.failures = 0
       AND l.due_at > clock_timestamp() + $4 * interval '1 second' AND (l.seq IS NULL OR l.seq < changed.changed_seq)
     ORDER BY l.user_id FOR UPDATE OF l)
UPDATE links AS l
   SET due_at = CASE WHEN l.leased_until > clock_timestamp() THEN l.due_at
                     ELSE clock_timestamp() + $4 * interval '1 second' END,
       hurried = l.leased_until > clock_timestamp()
  FROM told
 WHERE l.user_id = told.user_id AND l.peer = $1
