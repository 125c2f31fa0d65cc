-- What one write has left of an entity, for each of some users, waits no longer. See the function.
SELECT settle($1, $2, $3)
