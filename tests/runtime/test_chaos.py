"""Makes a short chaos run with kills; it runs for each commit. `make chaos` makes a long chaos run."""

from pathlib import Path

import pytest

from tests.chaos import Plan, run, table

pytestmark = pytest.mark.runtime


def test_three_kills_lose_nothing_and_the_bill_is_right(tmp_path: Path):
    report = run(Plan(kills=3, tasks=12, seed=3, settle_seconds=90, life_seconds=3), tmp_path)
    print(table(report))
    assert report.audit.violations == []
    assert report.kills == 3
    assert report.submitted == 12
    assert report.audit.ledger_calls >= report.audit.minimum_calls > 12
