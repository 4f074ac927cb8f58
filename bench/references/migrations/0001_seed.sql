-- The tables of bench/references/seed.mjs.
CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    input TEXT NOT NULL,
    max_chars INTEGER NOT NULL,
    total INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    finished_at TEXT
);

CREATE TABLE chunks (
    task_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    output TEXT NOT NULL,
    PRIMARY KEY (task_id, position)
);
