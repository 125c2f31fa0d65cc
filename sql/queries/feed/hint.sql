-- Tells the other processes that there is news in some feed. Only a hint: they would find out by themselves, later.
SELECT pg_notify('favsync_feed', '')
