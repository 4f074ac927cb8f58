-- What makes a write harmless that was given up and lands later, up to half a minute after its caller has gone on.

-- The number of the last write under the task's claims. It only ever rises: a write names the number before its own.
ALTER TABLE tasks ADD COLUMN step INTEGER NOT NULL DEFAULT 0 CHECK (step >= 0);

-- How often a client has put the task back. A cancellation or a retry names the generation that it means.
ALTER TABLE tasks ADD COLUMN generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0);

-- Task keys, and ids of API keys behind 'key/', that were erased or withdrawn a short time ago: nothing is written under
-- them any more. It holds no text of anybody's. The sweep removes a row after `until`.
CREATE TABLE tombstones (
  id TEXT NOT NULL PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
