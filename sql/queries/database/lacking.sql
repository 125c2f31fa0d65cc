-- What this account may not do with our tables, though a service must.
SELECT string_agg(privilege || ' on ' || name, ', ' ORDER BY name, privilege)
  FROM unnest(ARRAY['streams', 'records', 'feed_pending', 'feed_head', 'feed', 'epoch', 'entities']) name,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
 WHERE NOT has_table_privilege(name, privilege)
