// Lets the tasks of a former start go on at once, and not when their leases are over: the lock on the state directory
// says that its workers are dead.
import fs from "node:fs";
import path from "node:path";

const STATEMENT = fs.readFileSync(path.join(import.meta.dirname, "expire_leases.sql"), "utf8");

/** Ends the leases of workers that last wrote before `begunAt`, in ms since the epoch. Returns how many there were. */
export async function expireLeases(database, begunAt) {
  const { meta } = await database.prepare(STATEMENT).bind(begunAt).run();
  return meta.changes;
}
