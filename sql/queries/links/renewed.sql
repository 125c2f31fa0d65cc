-- Keeps credentials that were renewed in a cycle, unless the user has given others meanwhile.
UPDATE links SET secret = $4 WHERE user_id = $1 AND peer = $2 AND revision = $3
