-- Whose trouble a failed call is: see docs/decisions/0042.

-- Failures of the service that count against the chunk: the model answered the tenant's other chunks. `attempts` are those
-- that count against MAX_ATTEMPTS, replies without a usable output for the most part.
ALTER TABLE failures ADD COLUMN counted INTEGER NOT NULL DEFAULT 0 CHECK (counted >= 0);

-- No other call is made for it before then, in ms since the epoch, whoever works on the task.
ALTER TABLE failures ADD COLUMN rests_until INTEGER;

-- [started, failed] of its latest call, in ms since the epoch, while it is not known if that failure counts; else NULL.
ALTER TABLE failures ADD COLUMN held TEXT CHECK (json_type(held) = 'array');

-- How a tenant's latest calls with one model ended, while some fail: what isolates tell each other. Nothing is written here
-- while all calls succeed.
CREATE TABLE latest_calls (
  id TEXT NOT NULL PRIMARY KEY, -- the tenant, a colon, the model
  -- [chunk, at, succeeded] of the last chunks that were called, the latest first. `chunk` is a checksum, `at` in ms.
  calls TEXT NOT NULL CHECK (json_type(calls) = 'array'),
  failed_at INTEGER NOT NULL    -- when a call last failed, in ms since the epoch
) STRICT, WITHOUT ROWID;
