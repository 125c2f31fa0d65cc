-- No number of an owner's changes is given away twice: a change with one that its record has had would never be placed.
INSERT INTO streams AS s (user_id, seq)
SELECT user_id, max(seq) FROM records GROUP BY user_id ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE SET seq = excluded.seq WHERE s.seq < excluded.seq
