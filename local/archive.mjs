// Packs directories into the simple archive that shim.mjs unpacks: the length of a JSON index (4 bytes), the
// index, then the files' bytes. Unpacking a zip inside the interpreter costs a quarter of a second.
import fs from "node:fs";
import path from "node:path";

// What wrangler uploads from the folder of the main module: Python, and its default rules for text and data.
const UPLOADED = new Set([".py", ".txt", ".html", ".sql", ".bin"]);
const NEVER = new Set(["__pycache__", "node_modules", ".git"]);

/** The Worker's own files, as an upload would hold them. */
export function packSources(directory) {
  return pack(directory, (file) => UPLOADED.has(path.extname(file)));
}

/** The vendored packages, without what `python_modules.exclude` in wrangler.toml leaves out. */
export function packVendored(directory, excludes) {
  return pack(directory, (file) => !excludes.some((pattern) => path.matchesGlob(file, pattern)));
}

function pack(directory, includes) {
  const index = [];
  const contents = [];
  for (const file of list(directory, "")) {
    if (!includes(file)) continue;
    const bytes = fs.readFileSync(path.join(directory, file));
    index.push({ path: file, size: bytes.length });
    contents.push(bytes);
  }
  const encoded = Buffer.from(JSON.stringify(index));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(encoded.length);
  return new Uint8Array(Buffer.concat([length, encoded, ...contents]));
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
