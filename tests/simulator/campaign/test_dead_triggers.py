"""Lets queue, cron, alarms and RPC fail at entry for up to a day, alone and together, while clients poll."""

import asyncio
from collections import defaultdict
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from simulator.campaign.checks.end_checks import DOUBTS_EXCUSED
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.campaign.runs.fault_rates import DEAD
from simulator.campaign.runs.pool import run_block
from simulator.campaign.runs.run import Result, run_plan
from simulator.engine.fault_kinds import DEAD_TRIGGERS
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import JsError
from simulator.platform.choices import TOP, Deployment
from simulator.platform.world import World
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.work.dispatch import Dispatcher
from src.kernel.work.rescue import Rescue
from tests.simulator.toy_app import ToyApp, mark, marks, play
from tests.support.tiers import sized

# `make test` runs a quarter of a day, with a quarter of the tasks and schedules.
DAY_SECONDS, TASKS, SCHEDULES = sized(quick=(21_600, 3, 25), test=(21_600, 3, 25), campaign=(86_400, 12, 100))
CHUNKS = 4
EACH_ALONE = [(name,) for name in DEAD_TRIGGERS]


class Sendings:
    """Records the times at which each task was sent to a route, and whether a poll sent the task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_anyone: dict[TaskKey, list[float]] = defaultdict(list)
        self.worked = 0
        dispatch, work = Dispatcher.dispatch, Rescue._work

        async def dispatched(dispatcher: Dispatcher, task_key: TaskKey, *arguments: Any, **options: Any) -> Any:
            self.by_anyone[task_key].append(asyncio.get_running_loop().time())
            return await dispatch(dispatcher, task_key, *arguments, **options)

        async def worked(rescue: Rescue, *arguments: Any) -> None:
            self.worked += 1
            await work(rescue, *arguments)

        monkeypatch.setattr(Dispatcher, "dispatch", dispatched)
        monkeypatch.setattr(Rescue, "_work", worked)


def a_day(dead: tuple[str, ...], deployment: Deployment, wait_seconds: float) -> Result:
    """A client submits a task every two hours and polls it to its end; the last end stops the faults."""
    specs = tuple(TaskSpec(DAY_SECONDS * at / TASKS, CHUNKS, polled=wait_seconds) for at in range(1, TASKS + 1))
    workload = Workload(tasks=specs, first=deployment, last=deployment, short_slices=False)
    plan = FaultPlan(Random(1), dict.fromkeys(dead, 1.0))
    return run_plan(Result(1, DEAD), workload, plan, Random(1))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one.name or "top")
@pytest.mark.parametrize("dead", [*EACH_ALONE, DEAD_TRIGGERS], ids="+".join)
def test_a_day_of_dead_triggers(dead: tuple[str, ...], deployment: Deployment, monkeypatch: pytest.MonkeyPatch):
    sendings = Sendings(monkeypatch)
    result = a_day(dead, deployment, 25.0)
    assert result.failure is None
    assert result.virtual_seconds > DAY_SECONDS
    assert (result.statuses["completed"], result.calls, result.in_doubt) == (TASKS, TASKS * CHUNKS, 0)
    assert len(sendings.by_anyone) == TASKS
    for times in sendings.by_anyone.values():
        # A task is sent at its submission, and later at most once a minute, by a poll or by the sweep. A sending may be
        # up to a second later than the read of the database on which it depends, because of the network.
        assert all(later - earlier >= limits.LATE_TASK_SECONDS - 1 for earlier, later in pairwise(times)), times
        assert len(times) <= 1 + 2 * limits.SENDS_IN_VAIN
    if dead == DEAD_TRIGGERS and deployment is TOP:  # elsewhere the direct route may take a task at its submission
        assert sendings.worked >= TASKS


def test_no_schedule_with_dead_triggers_breaks_an_invariant():
    tally = run_block(0, SCHEDULES, DEAD)[0]
    assert tally.failures == []
    assert all(tally.fired[name] > SCHEDULES / 10 for name in DEAD_TRIGGERS)


def test_a_call_that_outlasts_its_poll_may_be_in_doubt():
    tally = run_block(936, 1, DEAD)[0]
    assert tally.failures == []
    assert tally.judged[DOUBTS_EXCUSED] > 0


class Counter:
    """An object whose calls and alarms leave marks in D1."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx, self.env = ctx, env

    async def start(self) -> None:
        await mark(self.env, "rpc", "came")
        await self.ctx.storage.setAlarm(0)

    async def alarm(self, info: object = None) -> None:
        await mark(self.env, "alarm", "came")


async def _fetch(env: Any, request: Any, ctx: Any) -> str:
    await mark(env, "http", "came")
    await env.AI_QUEUE.send({"a": "message"})
    try:
        await env.AI_PROCESSOR.getByName("object").start()
    except JsError as error:
        return str(error)
    return ""


async def _queue(env: Any, batch: Any, ctx: Any) -> None:
    await mark(env, "queue", "came")


async def _scheduled(env: Any, controller: Any, ctx: Any) -> None:
    await mark(env, "cron", "came")


@pytest.mark.parametrize(
    ("dead", "came"),
    [
        ((), {"http", "queue", "cron", "rpc", "alarm"}),
        (("queue_dead",), {"http", "cron", "rpc", "alarm"}),
        (("cron_dead",), {"http", "queue", "rpc", "alarm"}),
        (("rpc_dead",), {"http", "queue", "cron"}),
        (("alarm_dead",), {"http", "queue", "cron", "rpc"}),
        (DEAD_TRIGGERS, {"http"}),
    ],
)
def test_dead_triggers_run_no_code(dead: tuple[str, ...], came: set[str]):
    async def scenario(world: World) -> tuple[str, list[str]]:
        answer = await world.fetch("a client")
        world.tick()
        await asyncio.sleep(60)
        return answer, marks(world)

    app = ToyApp(fetch=_fetch, queue=_queue, scheduled=_scheduled, objects={"AIProcessor": Counter})
    answer, found = play(app, scenario, faults=dict.fromkeys(dead, 1.0))
    assert {line.partition(" ")[0] for line in found} == came
    assert ("NoGilError" in answer) == ("rpc_dead" in dead)
