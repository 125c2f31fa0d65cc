-- One link, as it is now.
SELECT secret, revision, needs_login, failures, state, due_at, leased_until > clock_timestamp() AS at_work
  FROM links WHERE user_id = $1 AND peer = $2
