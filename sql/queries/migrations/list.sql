-- The migrations this database has.
SELECT version, name, checksum FROM migrations ORDER BY version
