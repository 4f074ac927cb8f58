-- What a task of /v1 needs beside what every task has. Both columns are written with the task's row: no row more.

-- The fields of the request that the answers of /v1 echo; NULL for a task of the native API, which also tells the two
-- faces apart.
ALTER TABLE tasks ADD COLUMN response TEXT CHECK (json_type(response) = 'object');

-- How long the task is kept after its end, in ms, where that is shorter than the deployment's retention.
ALTER TABLE tasks ADD COLUMN retention_ms INTEGER CHECK (retention_ms >= 1);
