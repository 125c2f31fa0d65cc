-- The epoch goes on, on a later timeline of the same database: a promotion that lost nothing.
UPDATE epoch SET timeline = $3
 WHERE (system_identifier, database_oid) = ($1, $2) AND timeline < $3
