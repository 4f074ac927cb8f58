"""Inserts a test's code into Miniflare's D1 by a hook of Node.js; no installed file is changed."""

import json
from pathlib import Path

_HOOK = """
const fs = require("node:fs");
const read = fs.readFileSync;
const place = %s;
fs.readFileSync = function (file, ...rest) {
  const text = read.call(this, file, ...rest);
  if (!String(file).endsWith("d1/database.worker.js")) return text;
  if (String(text).split(place).length !== 2) throw new Error("this Miniflare's D1 has no place for what a test wants");
  return String(text).replace(place, () => place + %s);
};
"""


def write_hook(folder: Path, place: str, more: str) -> str:
    """Write a hook that inserts JavaScript after a unique text of D1's code; returns NODE_OPTIONS."""
    hook = folder / "miniflare_d1.cjs"
    hook.write_text(_HOOK % (json.dumps(place), json.dumps(more)))
    return f"--require {hook}"
