-- How long the oldest change has waited for its feed, in seconds; 0 where none waits.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(written_at)), 0)::float8 AS age_s FROM feed_pending
