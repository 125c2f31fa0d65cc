-- Begins an epoch where none is, or where the one that is was begun on another database or an earlier timeline.
-- Whoever comes second changes nothing, and gets no row.
INSERT INTO epoch AS e (id, secret, system_identifier, database_oid, timeline)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (singleton) DO UPDATE SET
  id = excluded.id, secret = excluded.secret, system_identifier = excluded.system_identifier,
  database_oid = excluded.database_oid, timeline = excluded.timeline
WHERE (e.system_identifier, e.database_oid) <> (excluded.system_identifier, excluded.database_oid)
   OR e.timeline < excluded.timeline
RETURNING id
