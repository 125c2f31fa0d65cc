-- Links in order, from behind one.
SELECT user_id, peer, secret FROM links WHERE (user_id, peer) > ($1, $2) ORDER BY user_id, peer LIMIT $3
