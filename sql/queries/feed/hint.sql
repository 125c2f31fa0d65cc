-- Tells the other processes that there is news in some feed, or, of an entity $1, that something waits to be placed. Only a
-- hint: they would find out by themselves, later.
SELECT pg_notify('favsync_feed', $1)
