-- A new secret, from which on cycles go again; what the link remembers of the peer, and tells, stays only where the
-- account does. A cycle that still goes on with the secret before is nobody's any more. No two secrets have the same
-- revision, even where the link was deleted in between: such a cycle must not pass for one of this link.
INSERT INTO links AS l (user_id, peer, secret, revision, due_at)
VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, clock_timestamp())
ON CONFLICT (user_id, peer) DO UPDATE
   SET secret = excluded.secret, revision = greatest(l.revision + 1, excluded.revision), needs_login = false,
       failures = 0, due_at = excluded.due_at, etag = NULL, seq = NULL, memory = CASE WHEN $4 THEN l.memory END,
       state = CASE WHEN $4 THEN l.state ELSE '{}' END, leased_until = '-infinity', lease = NULL, hurried = false
