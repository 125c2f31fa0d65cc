-- Which database this is, and whether it keeps what it acknowledges. The timeline is that which is written on now: after
-- a promotion the control file names it only once a checkpoint is done. Null on a standby, which writes nothing.
SELECT s.system_identifier, d.oid::bigint AS database_oid,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint END AS timeline,
       current_setting('server_version_num')::int AS version,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit
  FROM pg_control_system() s, pg_database d
 WHERE d.datname = current_database()
