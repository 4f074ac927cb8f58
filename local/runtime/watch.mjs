// Detects changes of files by reading their states at intervals. A few dozen files cost a millisecond, and no change is
// missed: editors replace files instead of writing them, and file system events differ from one system to the next.
import fs from "node:fs";
import path from "node:path";

const INTERVAL_MILLISECONDS = 250;
const RELEVANT = /\.(py|txt|html|sql|bin|toml)$|\.dev\.vars$/;

/**
 * Notes the present state of the files. The function that it returns starts to look for changes since then, and calls
 * `changed(name)`, one call at a time, once the files have stayed the same for one interval.
 */
export function watch(root, paths) {
  let settled = look(root, paths);
  let previous = settled;
  let running = false;
  const check = async (changed) => {
    if (running) return;
    const current = look(root, paths);
    const quiet = difference(previous, current) === undefined;
    previous = current;
    const name = difference(settled, current);
    if (!quiet || name === undefined) return;
    settled = current;
    running = true;
    await changed(name);
    running = false;
  };
  return (changed) => setInterval(check, INTERVAL_MILLISECONDS, changed).unref();
}

/** The state of each file, by its name seen from `root`. */
function look(root, paths) {
  const found = new Map();
  const visit = (target) => {
    const stat = fs.statSync(target, { throwIfNoEntry: false });
    if (stat?.isDirectory()) {
      if (path.basename(target) === "__pycache__") return;
      for (const name of fs.readdirSync(target)) visit(path.join(target, name));
    } else if (stat && RELEVANT.test(target)) {
      found.set(path.relative(root, target), `${stat.mtimeMs} ${stat.size} ${stat.ino}`);
    }
  };
  for (const target of paths) visit(target);
  return found;
}

/** The name of a file that is in only one of them, or not the same in both. */
function difference(before, after) {
  for (const [name, state] of after) if (before.get(name) !== state) return name;
  for (const name of before.keys()) if (!after.has(name)) return name;
  return undefined;
}
