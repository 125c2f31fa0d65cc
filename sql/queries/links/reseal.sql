-- Puts a secret that was sealed anew in the place of the same one.
UPDATE links SET secret = $4 WHERE user_id = $1 AND peer = $2 AND secret = $3 RETURNING peer
