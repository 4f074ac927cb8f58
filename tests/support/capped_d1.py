"""A local D1 that may not grow: SQLite itself refuses what needs a page more, as the hosted one does at its limit.

The limit of SQLite's pages holds for one connection and is kept nowhere, so it has to be set by the process that opens
the file. Miniflare reads the code of its D1 from a file. A hook of Node.js, which is loaded before all else, adds to it
the one call that workerd has for tests. Nothing that is installed is changed.
"""

from pathlib import Path

import pytest

_HOOK = """
const fs = require("node:fs");
const read = fs.readFileSync;
const place = "super(state, env), ";
fs.readFileSync = function (file, ...rest) {
  const text = read.call(this, file, ...rest);
  if (!String(file).endsWith("d1/database.worker.js")) return text;
  if (!String(text).includes(place)) throw new Error("this Miniflare has no place for the limit of a database");
  return String(text).replace(place, `${place}state.storage.sql.setMaxPageCountForTest(%d), `);
};
"""


def cap_d1(monkeypatch: pytest.MonkeyPatch, folder: Path, pages: int) -> None:
    """Let the D1 of every server that is started from now on have so many pages of 4,096 bytes, and no more."""
    hook = folder / "capped_d1.cjs"
    hook.write_text(_HOOK % pages)
    monkeypatch.setenv("NODE_OPTIONS", f"--require {hook}")
