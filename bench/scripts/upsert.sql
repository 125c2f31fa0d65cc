-- The newest of two wins, on a bare table: what a POST of one record comes down to.
\set user random(1, :users)
\set item random(0, :items - 1)
INSERT INTO bare (user_id, entity, item, action_us, deleted)
VALUES ('main/main/user-' || :user, 'main/favorites', 'session_' || :item,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, false)
ON CONFLICT (user_id, entity, item) DO UPDATE SET action_us = excluded.action_us, deleted = excluded.deleted
WHERE (excluded.action_us, excluded.deleted) > (bare.action_us, bare.deleted);
