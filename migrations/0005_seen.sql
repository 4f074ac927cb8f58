-- What tells a deployment whose cron, queue or alarms no longer come from one that has nothing to do.

-- When each kind of trigger was last seen: 'sweep', 'queue', 'alarm'; and when a request last began a sweep: 'asked'.
CREATE TABLE seen (
  what TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When the task was last sent off again because nobody had come for it. NULL: never.
ALTER TABLE tasks ADD COLUMN sent_at INTEGER;
