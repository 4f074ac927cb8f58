-- The log of a task's failed calls, and a name for the list. Neither costs a row: both are written with rows that are written
-- anyway.

-- The latest failed calls for this output, the latest last: [fence, number, started, ended, answered, code, message, route,
-- model] of each. The fence is that of the claim, the number counts the calls since the last retry. A reader passes over
-- further members. NULL: an older version wrote the row.
ALTER TABLE failures ADD COLUMN log TEXT CHECK (json_type(log) = 'array');

-- The beginning of the text's first line, as long as the text is kept. NULL: it has been emptied with the text, or an older
-- version wrote the row.
ALTER TABLE tasks ADD COLUMN first_line TEXT;
