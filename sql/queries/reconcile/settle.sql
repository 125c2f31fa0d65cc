-- What is placed, or superseded, waits no longer.
DELETE FROM feed_pending p
 USING feed f
 WHERE (f.entity, f.user_id, f.item) = (p.entity, p.user_id, p.item) AND f.seq >= p.seq
