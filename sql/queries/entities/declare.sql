-- An entity is declared, or declared anew with another scope.
INSERT INTO entities (name, scope) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET scope = excluded.scope
