// Serves the folder of static assets as Cloudflare does (workers-shared, asset-worker), for the host's side of
// front.mjs. Files are read on each request, so that a change shows when the page is reloaded.
//
// The module has only the parts that `public/` needs. Of `html_handling`, the module serves index.html at `/`, and
// redirects the other names of index.html to `/`. Of `_headers`, the module knows rules that set headers for an exact
// path or a path that ends in `*`. Any other line of `_headers` is an error.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { Response } from "./npm.mjs";

export const NO_ASSET_HEADER = "x-local-no-asset";

const INDEX = "/index.html";
const ALIASES = [INDEX, "/index", "/index/"];
const NEVER = ["/_headers", "/_redirects", "/.assetsignore"];
const REVALIDATED = "public, max-age=0, must-revalidate";
const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};

/** Returns the answer to a request for a file of `folder`, which is a 404 if the file does not exist. */
export function serve(folder, request) {
  const { pathname, search } = new URL(request.url);
  const alias = ALIASES.includes(pathname);
  const file = alias || pathname === "/" ? INDEX : pathname;
  const bytes = NEVER.includes(file) ? undefined : read(folder, file);
  if (!bytes) return new Response(null, { status: 404, headers: { [NO_ASSET_HEADER]: "1" } });
  const own = () => Object.fromEntries(headersOf(folder, pathname));
  if (!["GET", "HEAD"].includes(request.method)) return new Response(null, { status: 405, headers: own() });
  if (alias) return new Response(null, { status: 307, headers: { location: `/${search}`, ...own() } });
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"`;
  const headers = { etag, "content-type": TYPES[path.extname(file)], "cache-control": REVALIDATED, ...own() };
  const known = [etag, `W/${etag}`].includes(request.headers.get("if-none-match"));
  if (known) return new Response(null, { status: 304, headers });
  return new Response(request.method === "HEAD" ? null : bytes, { headers });
}

/** Returns the bytes of a file of a known kind, or undefined. Only names from the folder's listing are opened. */
function read(folder, name) {
  const known = fs.readdirSync(folder, { recursive: true }).map((found) => `/${found.split(path.sep).join("/")}`);
  return known.includes(name) && path.extname(name) in TYPES ? fs.readFileSync(path.join(folder, name)) : undefined;
}

/**
 * Returns the headers that `_headers` sets for a path, as [name, value]. If several rules set one header, their values
 * are joined.
 */
function headersOf(folder, pathname) {
  const found = new Map();
  for (const { pattern, headers } of rules(path.join(folder, "_headers"))) {
    const matches = pattern.endsWith("*") ? pathname.startsWith(pattern.slice(0, -1)) : pathname === pattern;
    for (const [name, value] of matches ? headers : []) {
      found.set(name, found.has(name) ? `${found.get(name)}, ${value}` : value);
    }
  }
  return found;
}

/** Returns the rules of a `_headers` file. Throws for a line that this parser does not know. */
export function rules(file) {
  const found = [];
  for (const [index, line] of fs.readFileSync(file, "utf8").split("\n").entries()) {
    const text = line.trim();
    const [, name, value] = /^([\w-]+)\s*:\s*(.+)$/.exec(text) ?? [];
    if (text === "" || text.startsWith("#")) continue;
    if (/^\/[^*:]*\*?$/.test(text)) found.push({ pattern: text, headers: [] });
    else if (name && found.length > 0) found.at(-1).headers.push([name.toLowerCase(), value]);
    else throw new Error(`${file}, line ${index + 1}: ${text} is not understood here`);
  }
  return found;
}
