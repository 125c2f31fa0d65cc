-- Whose links with a peer are due, and nobody's work: the longest first.
SELECT user_id FROM links
 WHERE peer = $1 AND NOT needs_login AND due_at <= clock_timestamp() AND leased_until <= clock_timestamp()
 ORDER BY due_at LIMIT $2
