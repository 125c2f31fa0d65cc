-- Are there records of an entity, of users ($2 false) or of a set that a tenant shares (true)? Reads them all where there
-- are none: asked only of what was declared once, and is not so now.
SELECT EXISTS (
  SELECT FROM records
   WHERE substr(entity, strpos(entity, '/') + 1) = $1 AND (user_id = split_part(entity, '/', 1) || '//' || $1) = $2)
