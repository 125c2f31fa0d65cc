-- The number of a user's latest change. No row: the user never wrote.
SELECT seq FROM streams WHERE user_id = $1
