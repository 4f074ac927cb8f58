"""A local D1 that may not grow: SQLite itself refuses what needs a page more, as the hosted one does at its limit.

The limit of SQLite's pages holds for one connection and is kept nowhere, so it has to be set by the process that opens
the file: by the one call that workerd has for tests.
"""

from pathlib import Path

import pytest

from tests.support.miniflare_d1 import write_hook


def cap_d1(monkeypatch: pytest.MonkeyPatch, folder: Path, pages: int) -> None:
    """Let the D1 of every server that is started from now on have so many pages of 4,096 bytes, and no more."""
    cap = f"state.storage.sql.setMaxPageCountForTest({pages}), "
    monkeypatch.setenv("NODE_OPTIONS", write_hook(folder, "super(state, env), ", cap))
