-- A migration was applied, in the same transaction.
INSERT INTO migrations (version, name, checksum) VALUES ($1, $2, $3)
