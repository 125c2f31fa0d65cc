-- Has this database ever been migrated?
SELECT to_regclass('favsync_migrations') IS NOT NULL
