-- Which database this is, and whether it keeps what it acknowledges.
SELECT s.system_identifier, d.oid::bigint AS database_oid, c.timeline_id::bigint AS timeline,
       current_setting('server_version_num')::int AS version,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit
  FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d
 WHERE d.datname = current_database()
