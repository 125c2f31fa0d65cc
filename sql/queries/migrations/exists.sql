-- Has this database ever been migrated?
SELECT to_regclass('migrations') IS NOT NULL
