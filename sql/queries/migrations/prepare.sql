-- Where it is written which migrations this database has.
CREATE TABLE IF NOT EXISTS favsync_migrations (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  checksum   text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)
