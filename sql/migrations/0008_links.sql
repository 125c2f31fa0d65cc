-- Links: which users are kept in step with which third-party backends ("peers"), and what is known of each.

CREATE TABLE links (
  user_id      text COLLATE "C" NOT NULL,
  peer         text COLLATE "C" NOT NULL,
  secret       bytea NOT NULL,     -- sealed: how the user is known there
  revision     bigint NOT NULL,    -- grows with each new secret
  memory       bytea,              -- packed: the peer's last list, and what it was offered in vain; NULL: nothing
  etag         text,               -- of that list, where what stood here then was equal to it: only then is it sent
  seq          bigint,             -- of the user, when what stood here was compared with that list
  needs_login  boolean NOT NULL DEFAULT false,   -- no cycles until there is a new secret
  failures     int NOT NULL DEFAULT 0,           -- in a row
  state        json NOT NULL DEFAULT '{}',       -- what whoever asks is told
  due_at       timestamptz NOT NULL,             -- when the next cycle may begin
  leased_until timestamptz NOT NULL DEFAULT '-infinity',
  lease        uuid,               -- of the process that works on it
  hurried      boolean NOT NULL DEFAULT false,   -- the user's records changed while it did
  PRIMARY KEY (user_id, peer)
) WITH (fillfactor = 70);
CREATE INDEX links_due ON links (peer, due_at) WHERE NOT needs_login;
