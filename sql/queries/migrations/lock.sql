-- One migrates at a time. The number is "favsync" in ASCII.
SELECT pg_advisory_lock(28817608995860067)
