-- Takes links for $4 seconds, of those asked for whichever nobody has taken meanwhile, nor is just taking. Of a process
-- that dies they are due when that time is over.
WITH wanted AS (
    SELECT user_id FROM links
     WHERE peer = $1 AND user_id = ANY ($2::text[])
       AND NOT needs_login AND due_at <= clock_timestamp() AND leased_until <= clock_timestamp()
     ORDER BY user_id FOR UPDATE SKIP LOCKED)
UPDATE links AS l
   SET lease = $3, leased_until = clock_timestamp() + $4 * interval '1 second',
       due_at = clock_timestamp() + $4 * interval '1 second', hurried = false
  FROM wanted
 WHERE l.user_id = wanted.user_id AND l.peer = $1
RETURNING l.user_id, l.secret, l.revision, l.memory, l.etag, l.seq, l.failures, l.state
