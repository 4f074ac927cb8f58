-- Caps of tenants, and options for long texts.

-- Options for long texts, such as quotes in outputs (docs/decisions/state.md#d0057): a JSON object. NULL: none.
ALTER TABLE tasks ADD COLUMN long_text TEXT CHECK (json_type(long_text) = 'object');

-- The fence of the last claim by code that knows these options. Code of the release before cannot claim such a task, as
-- with `structured_fence`.
ALTER TABLE tasks ADD COLUMN long_text_fence INTEGER CHECK (
  long_text IS NULL OR long_text_fence IS fence OR (status <> 'processing' AND error_code IS NOT 'dead_lettered')
);

-- Quotes of outputs that are not in their source, and so became null.
ALTER TABLE tasks ADD COLUMN quotes_not_found INTEGER NOT NULL DEFAULT 0 CHECK (quotes_not_found >= 0);
ALTER TABLE tallies ADD COLUMN missed_quotes INTEGER NOT NULL DEFAULT 0;

-- For a task with context: how many code points before a chunk are read with it, and the headings above its chunks, a line
-- of JSON for each change: [chunk, how many headings stay, the further ones as [level, title]].
ALTER TABLE texts ADD COLUMN lead INTEGER NOT NULL DEFAULT 0 CHECK (lead >= 0);
ALTER TABLE texts ADD COLUMN headings TEXT;
-- The numbers of marks that occur in such a text, with a comma behind each, until the whole text is cut.
ALTER TABLE file_texts ADD COLUMN marks TEXT NOT NULL DEFAULT '';

-- Caps. Amounts are integers of a billionth of a dollar, and times milliseconds since the epoch by the database's clock.

-- What the calls of a tenant with a cap may cost in a month (UTC), and have cost. The first cap of a deployment makes the
-- triggers that keep the sums: see features/cost/month.py. A tenant without a cap has no row.
CREATE TABLE tenant_limits (
  tenant TEXT NOT NULL PRIMARY KEY,
  monthly_most INTEGER CHECK (monthly_most >= 0), -- NULL: removed; the row goes once all tasks are awake
  counted_from INTEGER NOT NULL, -- when the cap was first set
  month INTEGER NOT NULL,        -- the month of the next two sums, such as 202612
  month_booked INTEGER NOT NULL DEFAULT 0,
  month_doubted INTEGER NOT NULL DEFAULT 0,
  month_out INTEGER NOT NULL DEFAULT 0, -- the most of all calls that are out now
  wakes_after TEXT -- the last task that a changed cap has woken; NULL: all are awake
) STRICT, WITHOUT ROWID;
CREATE INDEX tenant_limits_changed ON tenant_limits (tenant) WHERE wakes_after IS NOT NULL;

-- The step of the last write that announced calls; negative if its worker did not know the tenant's cap.
ALTER TABLE tasks ADD COLUMN wave_step INTEGER;
-- The most that the task's first call can cost, as its submission knew it. -1: it has no price. NULL: not judged.
ALTER TABLE tasks ADD COLUMN first_most INTEGER;
-- Tasks that wait for a cap or a price. Others have no entry.
CREATE INDEX tasks_for_cost ON tasks (tenant, id) WHERE waits_for = 'cost_limit' AND finished_at IS NULL;
