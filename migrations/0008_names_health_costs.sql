-- What a client may give a task without an effect: a JSON object of texts. NULL: nothing, or code of the
-- release before wrote the task.
ALTER TABLE tasks ADD COLUMN extras TEXT CHECK (json_type(extras) = 'object');
