"""The simulation runs the classes that `src/entry.py` exports, also as isolates of the previous release."""

import contextvars
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simulator.campaign.clients.workload import TaskSpec, Workload
from simulator.campaign.runs import releases, run
from simulator.campaign.runs.releases import Added, Releases, column
from simulator.campaign.runs.run import RELEASES, TEMPLATE, run_seed
from simulator.campaign.subject.adapter import Onceover
from simulator.platform.choices import TOP
from simulator.platform.sqlite_database import Template, open_database
from simulator.platform.world import World
from src import entry
from src.platform.surroundings import SURROUNDINGS
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


ROOT = Path(__file__).parents[3]
EXPORTED = {"Default", "AIProcessor", "BatchCoordinator"}
SEEDS_MOST = 100


def test_entry_exports_what_the_deployment_names():
    bindings = tomllib.loads((ROOT / "wrangler.toml").read_text())["durable_objects"]["bindings"]
    assert {"Default"} | {binding["class_name"] for binding in bindings} == EXPORTED == set(entry.__all__)
    classes = {name for name, value in vars(entry).items() if isinstance(value, type)}
    assert classes - {"Path", "ModuleType"} == EXPORTED


def test_the_simulation_runs_the_exported_classes(monkeypatch: pytest.MonkeyPatch):
    made: set[str] = set()

    def telling(name: str) -> type:
        base: Any = getattr(entry, name)

        class Telling(base):
            def __init__(self, ctx: Any, env: Any) -> None:
                made.add(name)
                super().__init__(ctx, env)

        return Telling

    for name in EXPORTED:
        monkeypatch.setattr(entry, name, telling(name))
    for seed in range(SEEDS_MOST):
        assert run_seed(seed).failure is None
        if made == EXPORTED:
            return
    pytest.fail(f"{SEEDS_MOST} schedules made only {made}")


def test_simulated_isolates_share_no_memory():
    world = World(1, Onceover(), TEMPLATE, deployment=TOP, slots=2)
    ours = SURROUNDINGS.get()

    def memory(handlers: Any) -> object:
        return handlers._surroundings.memory

    async def scenario(world: World) -> list[int]:
        for _ in range(20):
            world.tick()
        return [id(memory(slot.handlers)) for slot in world._slots if slot is not None]

    memories = world.run(scenario)
    assert len({*memories, id(ours.memory)}) == 3
    assert SURROUNDINGS.get() is contextvars.Context().run(SURROUNDINGS.get) is ours
