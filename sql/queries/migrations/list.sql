-- The migrations this database has.
SELECT version, name, checksum FROM favsync_migrations ORDER BY version
