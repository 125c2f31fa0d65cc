-- Removes tombstones that were placed before $2, a part of them. See the function.
SELECT upto, seen, removed FROM purge($1, $2, $3, $4)
