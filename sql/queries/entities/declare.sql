-- An entity is declared.
INSERT INTO entities (name, scope) VALUES ($1, $2)
ON CONFLICT (name, scope) DO NOTHING
