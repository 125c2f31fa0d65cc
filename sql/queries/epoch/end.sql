-- Ends the epoch: the next connection begins another, in which older cursors and ETags hold no longer.
DELETE FROM epoch
