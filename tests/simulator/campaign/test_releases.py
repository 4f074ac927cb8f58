"""Tests simulated isolates of the previous release, which neither write nor read what the newest migration adds."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from simulator.campaign.clients.workload import TaskSpec, Workload
from simulator.campaign.runs import releases, run
from simulator.campaign.runs.releases import Added, Releases, added, column, older_isolates
from simulator.campaign.runs.run import RELEASES, run_seed
from simulator.campaign.subject.patches import patched
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import Port
from simulator.platform.d1 import D1Binding, DatabaseServer, PreparedStatement
from simulator.platform.sqlite_database import Template, open_database
from tests.support.sqlite_d1 import MIGRATIONS

FIRST = """
CREATE TABLE tasks (id TEXT NOT NULL PRIMARY KEY, name TEXT) STRICT, WITHOUT ROWID;
CREATE TABLE keys (id TEXT NOT NULL PRIMARY KEY, label TEXT) STRICT, WITHOUT ROWID;
"""
SECOND = """
ALTER TABLE tasks ADD COLUMN label TEXT CHECK (length(label) >= 1);
ALTER TABLE tasks ADD COLUMN weight INTEGER NOT NULL DEFAULT 7;
CREATE TABLE labels (id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_label ON tasks (label);
"""


class Isolate:
    """A stand-in for an isolate. The tests use only its name."""

    name = "an isolate"


class PlainPort(Port):
    def __init__(self) -> None:
        self.isolate: Any = Isolate()


@pytest.fixture
def server() -> DatabaseServer:
    return DatabaseServer(Template([FIRST, SECOND, added([FIRST], SECOND).shadows()]), FaultPlan(Random(0)), int)


def ask(server: DatabaseServer, sql: str, *values: Any, share: float = 1.0) -> list[dict[str, Any]]:
    """Run a statement in an isolate of the previous release, or of the newest release if `share` is 0."""
    with patched(older_isolates(1, share, added([FIRST], SECOND))):
        (result,) = server.execute([PreparedStatement(D1Binding(server, PlainPort()), sql, values)])
    return [dict(zip(result["columns"], row, strict=True)) for row in result["results"]]


def test_an_older_isolate_writes_nothing_of_it(server: DatabaseServer) -> None:
    """If an older isolate inserts a row, new columns get their defaults; if it updates one, they keep their values."""
    insert = "INSERT INTO tasks (id, label, weight) VALUES (?, ?, ?)"
    ask(server, insert, "older", "mine", 1)
    ask(server, insert, "newer", "yours", 2, share=0.0)
    ask(server, "UPDATE tasks SET name = 'n', label = 'again', weight = 3")
    rows = ask(server, "SELECT id, name, label, weight FROM tasks ORDER BY id", share=0.0)
    assert [tuple(row.values()) for row in rows] == [("newer", "n", "yours", 2), ("older", "n", None, 7)]
    ask(server, "INSERT INTO labels (id) VALUES ('l')")
    assert ask(server, "SELECT * FROM labels", share=0.0) == []


def test_an_older_isolate_reads_nothing_of_it(server: DatabaseServer) -> None:
    ask(server, "INSERT INTO tasks (id, label, weight) VALUES ('a', 'there', 2)", share=0.0)
    ask(server, "INSERT INTO labels (id) VALUES ('l')", share=0.0)
    assert ask(server, "UPDATE tasks SET label = 'mine' RETURNING id, name") == [{"id": "a", "name": None}]
    assert ask(server, "SELECT label, weight FROM tasks") == [{"label": None, "weight": 7}]
    assert ask(server, "SELECT count(*) AS number FROM labels") == [{"number": 0}]


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
    """If the code can do without a new column, no invariant breaks with isolates of two releases under all faults."""
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
