-- Is it there?
SELECT 1
