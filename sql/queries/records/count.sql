-- How many records there are, tombstones included.
SELECT count(*) FROM records
