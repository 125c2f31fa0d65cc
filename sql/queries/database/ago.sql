-- The time that it was $1 seconds ago, by the database's clock.
SELECT clock_timestamp() - make_interval(secs => $1)
