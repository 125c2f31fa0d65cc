-- The number of each user's latest change. No row: that user never wrote.
SELECT user_id, seq FROM streams WHERE user_id = ANY($1::text[])
