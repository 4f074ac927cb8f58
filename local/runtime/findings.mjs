// Finds which variables are wrong, which variables nothing reads, and what will run. configuration.py finds these facts
// in Python, with the Worker's own parser.
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const PARSER = "src/kernel/domain/settings.py";

/** Returns whether the project is this one, and not one that a test has made. */
export const isOurs = (project) => fs.existsSync(path.join(project, PARSER));

/** Returns { faults, warnings, banner }, each a list of lines. All are empty for a project without our parser. */
export async function examine(request, settings) {
  if (!isOurs(request.project)) return { faults: [], warnings: [], banner: [] };
  // Python puts the project's folder first on the path, so `src` is the project's own.
  const running = promisify(execFile)(request.python, ["-B", "-m", "local.configuration"], {
    cwd: request.project,
    env: { ...process.env, PYTHONPATH: request.root },
  });
  running.child.stdin.end(
    JSON.stringify({
      env: request.env,
      variables: settings.variables,
      flags: request.variables,
      bindings: bindings(settings.workerOptions),
      limits: settings.limits,
      persist_to: request.persistTo,
      unreadable: settings.unreadable ?? null,
    }),
  );
  const { stdout } = await running;
  return JSON.parse(stdout);
}

const bindings = (options) =>
  ["d1Databases", "queueProducers", "durableObjects"].flatMap((kind) => Object.keys(options[kind] ?? {}));
