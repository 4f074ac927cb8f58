"""Inserts a test's code into Miniflare's D1 by a hook of Node.js, for example a limit of its size."""

import json
from pathlib import Path

import pytest

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


def cap_d1(monkeypatch: pytest.MonkeyPatch, folder: Path, pages: int) -> None:
    cap = f"state.storage.sql.setMaxPageCountForTest({pages}), "
    monkeypatch.setenv("NODE_OPTIONS", write_hook(folder, "super(state, env), ", cap))
