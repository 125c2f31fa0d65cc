-- When a change was written: how far the feed is behind is the first thing that is asked at 3 a.m.
-- The index keeps that question cheap while the feed is far behind, and is written at its end only.
ALTER TABLE feed_pending ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX feed_pending_by_age ON feed_pending (written_at);
