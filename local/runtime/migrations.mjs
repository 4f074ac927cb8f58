// Reads migrations/*.sql for the front Worker, which applies them.
import fs from "node:fs";
import path from "node:path";
import { wrangler } from "./npm.mjs";

/** Returns the migrations of a folder as { name, statements }, in order. */
export function readMigrations(directory) {
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).filter((name) => name.endsWith(".sql")) : [];
  return names.sort().map((name) => {
    const script = fs.readFileSync(path.join(directory, name), "utf8");
    return { name, statements: wrangler.unstable_splitSqlQuery(script).filter((text) => text.trim()) };
  });
}
