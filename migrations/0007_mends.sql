-- Mends of December 2026. Times are milliseconds since the epoch by the database's clock.

-- Parts of a file that the bucket did not have when a reader wanted them: by the part's name since when, and when last, a
-- JSON list. NULL: none. A part that comes back loses its note; one that stays away is lost (LOST_PART_SECONDS).
ALTER TABLE files ADD COLUMN missing TEXT CHECK (json_type(missing) = 'object');

-- The bytes of the tenant's files in the database, without those that batches wrote, which count in `bytes` and go with their
-- tasks. `walked_to` is '~' once a walk has found no task to erase up to the end: then the files do not count.
ALTER TABLE tenant_storage ADD COLUMN files INTEGER NOT NULL DEFAULT 0;
