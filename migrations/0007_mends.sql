-- Mends of December 2026. Times are milliseconds since the epoch by the database's clock.

-- Parts of a file that the bucket did not have when a reader wanted them: by the part's name since when, and when last, a
-- JSON list. NULL: none. A part that comes back loses its note; one that stays away is lost (LOST_PART_SECONDS).
ALTER TABLE files ADD COLUMN missing TEXT CHECK (json_type(missing) = 'object');
