-- Forgets a link.
DELETE FROM links WHERE user_id = $1 AND peer = $2 RETURNING peer
