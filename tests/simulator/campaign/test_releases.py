"""Tests simulated isolates of the previous release, which neither write nor read what the newest migration adds."""

from collections import Counter

import pytest

from simulator.campaign.clients.workload import TaskSpec, Workload
from simulator.campaign.runs import releases, run
from simulator.campaign.runs.releases import Added, Releases, column
from simulator.campaign.runs.run import RELEASES, run_seed
from simulator.platform.sqlite_database import Template, open_database
from tests.support.sqlite_d1 import MIGRATIONS


def as_if_newest(monkeypatch: pytest.MonkeyPatch, name: str) -> Counter[str]:
    """Let the campaign treat an existing column as new in the newest migration, and count the renamed statements."""
    scripts = [path.read_text("utf-8") for path in sorted(MIGRATIONS.glob("*.sql"))]
    connection = open_database()
    for script in scripts:
        connection.executescript(script)
    newest = Added((column(connection, "tasks", name),))
    connection.close()
    monkeypatch.setattr(run, "RELEASES", Releases(Template([*scripts, newest.shadows()]), newest))
    renamed: Counter[str] = Counter()
    plain = Added.renamed

    def noted(self: Added, sql: str) -> str:
        given = plain(self, sql)
        renamed["renamed" if given != sql else "as it was"] += 1
        return given

    monkeypatch.setattr(releases.Added, "renamed", noted)
    return renamed


WORKLOAD = Workload((TaskSpec(0, 4), TaskSpec(1.5, 3, "merge"), TaskSpec(5, 2)), older_isolates=0.5)


def test_isolates_of_two_releases_do_their_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = as_if_newest(monkeypatch, "pace_ms")
    for seed in range(15):
        assert run_seed(seed, profile="swarm", workload=WORKLOAD).failure is None
    assert renamed["renamed"] > 100


def test_a_column_that_older_code_must_not_ignore_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_newest(monkeypatch, "calls_in_doubt")
    failures = (run_seed(seed, profile="swarm", workload=WORKLOAD).failure for seed in range(15))
    assert any((failure or "").startswith("InvariantBroken") for failure in failures)


def test_the_campaign_knows_the_newest_migration() -> None:
    with_shadows = RELEASES.template.acquire()
    names = {name for (name,) in with_shadows.execute("SELECT name FROM pragma_table_xinfo('tasks')")}
    assert {f"{one.name}__unknown" for one in RELEASES.newest.columns if one.table == "tasks"} <= names
    RELEASES.template.release(with_shadows)
