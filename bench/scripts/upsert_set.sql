-- A hundred at a time.
\set user random(1, :users)
\set item random(0, :items - 100)
INSERT INTO bare (user_id, entity, item, action_us, deleted)
SELECT 'main/main/user-' || :user, 'main/favorites', 'session_' || n,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, n % 10 = 0
  FROM generate_series(:item, :item + 99) n
ON CONFLICT (user_id, entity, item) DO UPDATE SET action_us = excluded.action_us, deleted = excluded.deleted
WHERE (excluded.action_us, excluded.deleted) > (bare.action_us, bare.deleted);
