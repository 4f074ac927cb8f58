// Finds the modules that workerd runs: the Worker's files and packages, the same as in an upload. A test compares these
// modules with the output of `make bundle`.
import fs from "node:fs";
import path from "node:path";

// The kinds of files that wrangler uploads from the main module's folder: Python, and by its default rules text and
// data.
const TYPES = { ".py": "PythonModule", ".txt": "Text", ".html": "Text", ".sql": "Text", ".bin": "Data" };
const NEVER = new Set(["__pycache__", "node_modules", ".git"]);
const PACKAGES = "python_modules";

/** Returns Miniflare's definitions of all modules, the main one first, with paths in the main module's folder. */
export function workerModules(settings) {
  const root = path.dirname(settings.main);
  const main = path.basename(settings.main);
  const own = [...list(root, "")].filter((file) => path.extname(file) in TYPES && file !== main);
  const packages = [...list(settings.vendored, "")].filter(
    (file) => !settings.vendoredExcludes.some((pattern) => path.matchesGlob(file, pattern)),
  );
  return [
    definition(root, main, path.join(root, main)),
    ...own.map((file) => definition(root, file, path.join(root, file))),
    ...packages.map((file) => definition(root, `${PACKAGES}/${file}`, path.join(settings.vendored, file))),
  ];
}

function definition(root, name, file) {
  const type = name.startsWith(`${PACKAGES}/`) && path.extname(name) !== ".py" ? "Data" : TYPES[path.extname(name)];
  const contents = fs.readFileSync(file);
  return { type, path: path.join(root, name), contents: type === "Data" ? contents : contents.toString() };
}

function* list(root, prefix) {
  const entries = fs.readdirSync(path.join(root, prefix), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = prefix ? `${prefix}/${entry.name}` : entry.name;
    if (NEVER.has(entry.name)) continue;
    if (entry.isDirectory()) yield* list(root, file);
    else if (entry.isFile()) yield file;
  }
}
