-- Printing takes most of the time of a list and of a page of a feed: the same text, of fewer parts, takes a third less. The
-- functions of 0005 stay, for the release that calls them, while it is replaced.

-- An actionDate and its quotes, but for its end: milliseconds, or microseconds where it needs them. As JSON a timestamp
-- has one form, whatever the session's settings. It has no zeros at the end: so one more microsecond is printed where three
-- digits are wanted, and the zeros are put back where six are.
CREATE FUNCTION print_date(action_us bigint) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN action_us % 1000 = 0
    THEN left(to_json(timestamp 'epoch' + (action_us + 1) * interval '1 microsecond')::text, 24)
    ELSE rpad(rtrim(to_json(timestamp 'epoch' + action_us * interval '1 microsecond')::text, '"'), 27, '0')
  END
$$;

-- A record as the protocol shows it, printed where it is read: what http/wire.py prints, to the byte, but for the brace
-- that it begins with, before which other members may come. Functions of one expression, which is put where they are called;
-- STABLE as what they are made of is, or it would not be.
CREATE FUNCTION print_version(item text, action_us bigint, deleted boolean, fields json) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT '"item":' || to_json(item)::text || ',"actionDate":' || print_date(action_us)
         || CASE WHEN fields IS NULL
              THEN CASE WHEN deleted THEN 'Z","action":"DELETE"}' ELSE 'Z","action":"ADD"}' END
              ELSE CASE WHEN deleted THEN 'Z","action":"DELETE","fields":' ELSE 'Z","action":"ADD","fields":' END
                   || fields::text || '}'
            END
$$;

-- Whose a change is: `own` is the beginning of the user_id of all whose namespace goes without saying.
CREATE FUNCTION print_owner(user_id text, own text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN starts_with(user_id, own) THEN to_json(substr(user_id, length(own) + 1))::text
    WHEN split_part(user_id, '/', 2) = '' THEN 'null'
    ELSE to_json(regexp_replace(user_id, '^[^/]*/[^/]*/', ''))::text
         || ',"namespace":' || to_json(split_part(user_id, '/', 2))::text
  END
$$;
