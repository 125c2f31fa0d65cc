-- The epoch, and which database it was begun on.
SELECT id, secret, system_identifier, database_oid, timeline FROM epoch
