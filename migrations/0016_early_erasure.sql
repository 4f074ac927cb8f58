-- Where the early erasure goes on with a tenant's tasks. It lasts until the next count of what tenants store.

-- The time in the id of the last task that was passed over, as the id's first 13 characters; '' at the beginning. Early
-- erasure writes it where a page of tasks had none that may go: those that go on, or ended within a day.
ALTER TABLE tenant_storage ADD COLUMN walked_to TEXT NOT NULL DEFAULT '';
