-- What one write has left of an entity, for each of some users, waits no longer (see the function); and where $4 says so, the
-- other processes are told that there is news in some feed: only a hint, they would find out by themselves, later.
SELECT settle($1, $2, $3), CASE WHEN $4::boolean THEN pg_notify('favsync_feed', '') END
