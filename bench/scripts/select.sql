-- What a GET shows, as rows.
\set user random(1, :users)
SELECT item, action_us, deleted FROM records
 WHERE user_id = 'main/main/user-' || :user AND entity = 'main/favorites' ORDER BY item;
