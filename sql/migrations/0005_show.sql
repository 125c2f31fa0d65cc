-- A record as the protocol shows it, printed where it is read: what http/wire.py prints, to the byte.
-- Needs the session's DateStyle to be ISO, and is only STABLE for that; a function of one expression is expanded where it is called.

-- An actionDate: milliseconds, or microseconds where it needs them. PostgreSQL leaves out zeros at the end of a second,
-- so one more microsecond is printed where three digits are wanted, and the others are put back where six are.
CREATE FUNCTION show_date(action_us bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT replace(
    CASE WHEN action_us % 1000 = 0
         THEN left((timestamp 'epoch' + (action_us + 1) * interval '1 microsecond')::text, 23)
         ELSE rpad((timestamp 'epoch' + action_us * interval '1 microsecond')::text, 26, '0') END,
    ' ', 'T') || 'Z'
$$;

CREATE FUNCTION show_record(item text, action_us bigint, deleted boolean, fields json) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT '{"item":' || to_json(item)::text || ',"actionDate":"' || show_date(action_us) || '","action":"'
         || CASE WHEN deleted THEN 'DELETE' ELSE 'ADD' END || '"' || coalesce(',"fields":' || fields::text, '') || '}'
$$;

-- Whose a change is: `own` is the beginning of the user_id of all whose namespace goes without saying.
CREATE FUNCTION show_owner(user_id text, own text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN starts_with(user_id, own) THEN '"user":' || to_json(substr(user_id, length(own) + 1))::text
    WHEN split_part(user_id, '/', 2) = '' THEN '"user":null'
    ELSE '"user":' || to_json(regexp_replace(user_id, '^[^/]*/[^/]*/', ''))::text
         || ',"namespace":' || to_json(split_part(user_id, '/', 2))::text
  END
$$;
