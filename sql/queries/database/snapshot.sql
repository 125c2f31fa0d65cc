-- A name by which another connection can see exactly what this transaction sees.
SELECT pg_export_snapshot()
