-- What this account may not do with our tables and functions, though a service must.
SELECT string_agg(what, ', ' ORDER BY what)
  FROM (
    SELECT privilege || ' on ' || name AS what
      FROM unnest(ARRAY['streams', 'records', 'feed_pending', 'feed_head', 'feed', 'epoch', 'entities', 'links']) name,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
     WHERE NOT has_table_privilege(name, privilege)
     UNION ALL
    SELECT DISTINCT 'EXECUTE on ' || proname
      FROM pg_proc
     WHERE proname IN ('offer', 'place', 'settle', 'print_date', 'print_version', 'print_owner')
       AND pg_function_is_visible(oid) AND NOT has_function_privilege(oid, 'EXECUTE')) AS lacking
