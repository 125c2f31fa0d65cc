-- Ends a cycle, and keeps what it found: together, and only while the link is still the one that it began with.
-- The next is due in $11 seconds; in $12 where the user's records changed meanwhile.
UPDATE links
   SET memory = $5, etag = $6, seq = $7, failures = $8, state = $9, needs_login = $10,
       due_at = clock_timestamp() + CASE WHEN hurried THEN least($11::float8, $12::float8) ELSE $11 END * interval '1 second',
       leased_until = '-infinity', lease = NULL, hurried = false
 WHERE user_id = $1 AND peer = $2 AND lease = $3 AND revision = $4
RETURNING peer
