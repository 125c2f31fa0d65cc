-- The entities that were ever declared on this database, and as whose: user or shared.
SELECT name, scope FROM entities ORDER BY name, scope
