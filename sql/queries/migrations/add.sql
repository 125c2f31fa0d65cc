-- A migration was applied, in the same transaction.
INSERT INTO favsync_migrations (version, name, checksum) VALUES ($1, $2, $3)
