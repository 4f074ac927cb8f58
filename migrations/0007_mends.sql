-- Mends of December 2026. Times are milliseconds since the epoch by the database's clock.

-- Parts of a file that the bucket did not have when a reader wanted them: by the part's name since when, and when last, a
-- JSON list. NULL: none. A part that comes back loses its note; one that stays away is lost (LOST_PART_SECONDS).
ALTER TABLE files ADD COLUMN missing TEXT CHECK (json_type(missing) = 'object');

-- The bytes of the tenant's files in the database, without those that batches wrote, which count in `bytes` and go with their
-- tasks. `walked_to` is '~' once a walk has found no task to erase up to the end: then the files do not count.
ALTER TABLE tenant_storage ADD COLUMN files INTEGER NOT NULL DEFAULT 0;

-- Ended tasks with calls that are neither settled nor in doubt: their worker may have died. Only a task that ends while calls
-- are out has an entry, until its worker settles them.
CREATE INDEX tasks_with_open_calls ON tasks (announced_at) WHERE finished_at IS NOT NULL AND in_flight <> '[]';

-- The name of the writer that took the batch last. After a restore of the database two writers may have one fence, and only
-- one of them the name (docs/decisions/0043). NULL: code of the release before took it, or none did.
ALTER TABLE batches ADD COLUMN writer TEXT;
