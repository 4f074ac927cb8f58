-- Ends the leases of dead workers. The caller has the lock on the state directory, so no worker of an earlier start is
-- alive. ?1 is when this start began, in ms since the epoch. A worker that has written since then belongs to this
-- start: an object's alarm may fire before anything else. The tasks are due at once, and their next claims put their
-- calls in doubt. A stopped worker shows nothing about its task, so this counts as no stall.
UPDATE tasks SET lease_until = min(lease_until, ?1), wake_at = min(wake_at, ?1), stalled_since = NULL, rest_until = 0
WHERE finished_at IS NULL AND status = 'processing' AND announced_at < ?1
