-- Places what of an entity has waited since $2, $3 changes of it at most. See the function.
SELECT users, seqs, more, placed, head FROM place($1, $2, $3)
