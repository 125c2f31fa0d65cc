-- The entities that were ever declared on this database.
SELECT name, scope FROM entities
