-- Offers versions, for one user or many; one row, which says for each what stood before. See the function.
SELECT seen_action_us, seen_deleted, seen_digest, refused
  FROM offer(
    $1::text::text[], $2::text::text[], $3::text::text[], $4::text::bigint[], $5::text::boolean[],
    $6::bytea[], $7::text[], $8::text::bigint[])
