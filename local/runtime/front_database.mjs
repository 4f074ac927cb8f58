// Does the front Worker's work for the host through the D1 binding. Migrations are recorded in the same table as by
// `wrangler d1 migrations`, so that the two tools can be used in turn.

const CREATE_RECORD = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

/**
 * Applies the migrations that are not recorded yet, each file in one transaction. `migrations` is a list of
 * { name, statements } in order. Returns the names of the applied migrations. Throws if one fails.
 */
export async function migrate(database, migrations) {
  if (migrations.length === 0) return [];
  await database.prepare(CREATE_RECORD).run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const recorded = new Set(results.map((row) => row.name));
  const waiting = migrations.filter(({ name }) => !recorded.has(name));
  for (const { name, statements } of waiting) {
    const record = database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name);
    try {
      await database.batch([...statements.map((text) => database.prepare(text)), record]);
    } catch (error) {
      const isThere = /duplicate column name|already exists/.test(error.message);
      const why = isThere ? `. The database has it, but its table d1_migrations has no row for ${name}: see docs/runbook.md` : "";
      throw new Error(`migration ${name} failed: ${error.message}${why}`, { cause: error });
    }
  }
  return waiting.map(({ name }) => name);
}

/** Ends the leases of workers that last wrote before `begunAt`, in ms since the epoch. Returns their number. */
export async function expireLeases(database, statement, begunAt) {
  const { meta } = await database.prepare(statement).bind(begunAt).run();
  return meta.changes;
}
