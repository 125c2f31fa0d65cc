-- Tables are compared as wholes, in this transaction: what is known of them may be old, and a join row by row take hours.
SELECT set_config('enable_nestloop', 'off', true)
