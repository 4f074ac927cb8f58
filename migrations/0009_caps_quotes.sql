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
