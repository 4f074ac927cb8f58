// Reads migrations/*.sql for the front Worker, which applies them.
import fs from "node:fs";
import path from "node:path";
import { keep, placeOf, recall } from "./wrangler/kept.mjs";
import { wrangler } from "./wrangler/load.mjs";

/** Returns the migrations of a folder as { name, statements }, in order. wrangler's division is kept below `root`. */
export function readMigrations(root, directory) {
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).filter((name) => name.endsWith(".sql")) : [];
  const scripts = names.sort().map((name) => fs.readFileSync(path.join(directory, name), "utf8"));
  if (scripts.length === 0) return [];
  return divided(root, scripts).map((statements, index) => ({ name: names[index], statements }));
}

function divided(root, scripts) {
  const place = placeOf(root, import.meta.filename, scripts);
  const kept = recall(place);
  if (kept) return kept;
  const answer = scripts.map((script) => wrangler().unstable_splitSqlQuery(script).filter((text) => text.trim()));
  keep(place, answer);
  return answer;
}
