"""Kills the runtime while it works on a batch. `python -m tests.batch_chaos` makes a long run."""

from pathlib import Path

import pytest

from tests.batch_chaos import Plan, run, table

pytestmark = pytest.mark.runtime


def test_kills_lose_and_double_no_line(tmp_path: Path) -> None:
    report = run(Plan(lines=240, kills=2, seed=3, settle_seconds=120), tmp_path)
    print(table(report))
    assert report.violations == []
    assert report.kills == 2
    assert report.calls >= report.plan.lines
