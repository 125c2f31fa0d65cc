-- What the planner knows about the tables is not part of a dump.
ANALYZE
