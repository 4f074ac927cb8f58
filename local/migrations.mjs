// Applies migrations/*.sql through the D1 binding and records them where `wrangler d1 migrations` does, so that
// either tool can follow the other.
import fs from "node:fs";
import path from "node:path";
import wrangler from "wrangler";

const CREATE_RECORD = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

/** Applies what is not recorded yet, each file in one transaction. Returns the names applied. */
export async function applyMigrations(database, directory) {
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).filter((name) => name.endsWith(".sql")) : [];
  if (names.length === 0) return [];
  await database.prepare(CREATE_RECORD).run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all();
  const recorded = new Set(results.map((row) => row.name));
  const waiting = names.filter((name) => !recorded.has(name)).sort();
  for (const name of waiting) {
    const script = fs.readFileSync(path.join(directory, name), "utf8");
    const statements = wrangler.unstable_splitSqlQuery(script).filter((text) => text.trim());
    const record = database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name);
    try {
      await database.batch([...statements.map((text) => database.prepare(text)), record]);
    } catch (error) {
      throw new Error(`migration ${name} failed: ${error.message}`, { cause: error });
    }
  }
  return waiting;
}
