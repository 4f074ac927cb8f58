-- How much each tenant stores, about, as last counted. It is counted only while the database is nearly as large as
-- STORAGE_MB_MOST: to know whose ended tasks are erased early.
CREATE TABLE tenant_storage (
  tenant TEXT NOT NULL PRIMARY KEY,
  bytes INTEGER NOT NULL,
  counted_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
