"""Checks that the simulation runs the classes that `src/entry.py` exports, not copies of them."""

import contextvars
import tomllib
from pathlib import Path
from typing import Any

import pytest

from simulator.campaign.runs.run import TEMPLATE, run_seed
from simulator.campaign.subject.adapter import Onceover
from simulator.platform.choices import TOP
from simulator.platform.world import World
from src import entry
from src.platform.surroundings import SURROUNDINGS

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
