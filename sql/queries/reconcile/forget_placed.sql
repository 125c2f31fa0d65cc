-- What is placed, and is no version that its record has or had, is not part of this history.
DELETE FROM feed f
 WHERE NOT EXISTS (
   SELECT FROM records r
    WHERE (r.user_id, r.entity, r.item) = (f.user_id, f.entity, f.item)
      AND (r.seq > f.seq
           OR (r.seq, r.action_us, r.deleted, r.digest) = (f.seq, f.action_us, f.deleted, f.digest)))
