-- Whether a key has the scope `operator`, which extends its `read` and `write` to other tenants. It is no part of
-- `scopes`: that column takes three at most, and code of the release before knows no fourth.
ALTER TABLE api_keys ADD COLUMN operator INTEGER NOT NULL DEFAULT 0 CHECK (operator IN (0, 1));
