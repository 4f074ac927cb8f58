-- Ends the leases of workers that are dead: whoever has the lock on the state directory knows that none of a former start
-- is alive. ?1 is when this start began, in ms since the epoch. A worker that has written since is one of this start: an
-- object's alarm may ring before anything else. The tasks are due at once, and their next claims put their calls in doubt.
-- A worker that was stopped says nothing about its task, so this is no stall.
UPDATE tasks SET lease_until = min(lease_until, ?1), wake_at = min(wake_at, ?1), stalled_since = NULL, rest_until = 0
WHERE finished_at IS NULL AND status = 'processing' AND announced_at < ?1
