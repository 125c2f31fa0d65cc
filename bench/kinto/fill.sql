-- As if $1 users had put $2 records each into a collection of theirs, in turn, in one bucket; $3: their principals.
-- Kinto gives whoever makes a record the right to write it, a row each.
WITH
  bucket AS (
    INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
    VALUES ('favorites', '', 'bucket', now() AT TIME ZONE 'UTC', '{}', false)),
  collections AS (
    INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
    SELECT 'user-' || u, '/buckets/favorites', 'collection',
           (now() - interval '1 day' + u * interval '1 ms') AT TIME ZONE 'UTC', '{}', false
      FROM generate_series(1, $1::int) u),
  records AS (
    INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
    SELECT 'session_' || i, '/buckets/favorites/collections/user-' || u, 'record',
           (now() - interval '1 day' + i * interval '1 ms') AT TIME ZONE 'UTC',
           jsonb_build_object('actionDate', '2017-07-14T02:40:00.000Z', 'action', 'ADD'), false
      FROM generate_series(1, $1::int) u, generate_series(0, $2::int - 1) i ORDER BY i, u),
  rights AS (
    INSERT INTO access_control_entries (object_id, permission, principal)
    SELECT '/buckets/favorites/collections/user-' || u, 'write', ($3::text[])[u] FROM generate_series(1, $1::int) u)
INSERT INTO access_control_entries (object_id, permission, principal)
SELECT '/buckets/favorites/collections/user-' || u || '/records/session_' || i, 'write', ($3::text[])[u]
  FROM generate_series(1, $1::int) u, generate_series(0, $2::int - 1) i
