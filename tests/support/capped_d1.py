"""Makes a local D1 that cannot grow: SQLite refuses to use another page, as the hosted D1 does at its size limit.

SQLite's page limit applies to one connection and is not stored. Therefore the process that opens the database's file
must set the limit, through a call that workerd has for tests.
"""

from pathlib import Path

import pytest

from tests.support.miniflare_d1 import write_hook


def cap_d1(monkeypatch: pytest.MonkeyPatch, folder: Path, pages: int) -> None:
    cap = f"state.storage.sql.setMaxPageCountForTest({pages}), "
    monkeypatch.setenv("NODE_OPTIONS", write_hook(folder, "super(state, env), ", cap))
