"""A local D1 that cannot grow: the process that opens it sets SQLite's page limit, by a call for tests."""

from pathlib import Path

import pytest

from tests.support.miniflare_d1 import write_hook


def cap_d1(monkeypatch: pytest.MonkeyPatch, folder: Path, pages: int) -> None:
    cap = f"state.storage.sql.setMaxPageCountForTest({pages}), "
    monkeypatch.setenv("NODE_OPTIONS", write_hook(folder, "super(state, env), ", cap))
