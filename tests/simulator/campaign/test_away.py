"""Runs the whole Worker with a model that is away for all tasks at once: tasks must wait and make few calls."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.model import Absence
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World
from src.kernel.calls.model_health import Patience
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelError, ModelUnavailable
from src.kernel.domain.task import Route
from tests.simulator.campaign.test_walls import unwatched

CHUNKS = 20
CALL_SECONDS = 1.0
CONCURRENCY = 3
AWAY_AT_SECONDS = 3.0
CRON_SECONDS = 60
PROBES_AN_HOUR_MOST = 32
QUEUE = Deployment("queue", queue=True, objects=False)
AWAY_TURN = limits.AWAY_PROBE_SECONDS + 25  # the longest time of a turn's calls, plus the time of a call that hangs
OPTIONS = {
    "CHUNK_MAX_CHARS": "10",
    "REQUIRE_KEYS": "false",
    "PLAN": "paid",
    "AI_TIMEOUT_SECONDS": "20",
    "AI_CONCURRENCY": str(CONCURRENCY),
}


class Seen:
    """How tasks ended, called and had outputs; `routes` at changes, and rows while the model was away."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.rows_while_away = (0, 0)
        self.routes: list[set[str]] = []
        self.calls: dict[str, list[float]] = defaultdict(list)
        self.outputs: dict[str, list[float]] = defaultdict(list)
        self.back_at = 0.0

    def asked(self, task: str) -> list[float]:
        return [at for at in self.calls[task] if AWAY_AT_SECONDS + 2.5 < at < self.back_at]

    def first_success(self, task: str) -> float:
        return min(at for at in self.outputs[task] if at >= self.back_at)

    def width(self, task: str, since: float, until: float) -> int:
        began = [at for at in self.calls[task] if since <= at <= until]
        return max(sum(at - CALL_SECONDS < other <= at for other in began) for at in began)


def rows_of(world: World) -> list[dict[str, Any]]:
    cursor = world.database.connection.execute("SELECT * FROM tasks")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def submit(number: int, letter: str = "w") -> ClientRequest:
    text = "".join(f"{letter}{at:03d} abc. " for at in range(CHUNKS))
    return ClientRequest("POST", "/api/tasks", lambda: {"input": text, "instructions": f"t{number}"})


async def come(world: World, numbers: Iterable[int]) -> None:
    """Submit tasks, one every 30 s."""
    for number in numbers:
        await asyncio.sleep(30)
        await world.fetch(submit(number, "v"))


async def count_rows(world: World, seconds: float, seen: Seen) -> None:
    read, written = world.database.rows_read, world.database.rows_written
    await asyncio.sleep(seconds)
    seen.rows_while_away = (world.database.rows_read - read, world.database.rows_written - written)


def work(
    deployment: Deployment,
    tasks: int,
    away_seconds: float,
    absence: Absence,
    *,
    patience: float = 3_600,
    kill_at: Sequence[float] = (),
    changes: Sequence[tuple[float, Deployment]] = (),
    isolates: int = 3,
    until: float = 9_000,
    broken: str = "",
    others: int = 0,
) -> Seen:
    """Run tasks while the model goes away and comes back, and return what was recorded.

    All isolates of the world die at the times `kill_at`. Other deployments replace the first deployment at the times in
    `changes`. The model always answers 500 to chunks that begin with `broken`. `others` is the number of further tasks
    without a `broken` chunk, which are submitted one every 30 s.
    """
    seen = Seen()
    world = unwatched(
        deployment,
        OPTIONS | {"MODEL_PATIENCE_SECONDS": str(patience)},
        model_seconds=(CALL_SECONDS, CALL_SECONDS),
        slots=isolates,
        queue_settings=QueueSettings(max_concurrency=50),
        max_steps=20_000_000,
    )
    loop, model = world.loop, world.model

    def starting(call: ModelCall, _sender: str) -> None:
        seen.calls[call.system].append(loop.time())

    def received(call: ModelCall, _reply: ModelReply) -> None:
        seen.outputs[call.system].append(loop.time())

    def decide(call: ModelCall, sender: str) -> tuple[str, ModelError | None, float]:
        return ("5xx", ModelUnavailable("500"), 0.2) if broken and call.user.startswith(broken) else usual(call, sender)

    usual = model._decide
    model._decide = decide  # type: ignore[method-assign]
    model.starting, model.received = starting, received
    model.timeout_seconds = 20

    async def scenario(world: World) -> None:
        world.start_cron(CRON_SECONDS)
        await asyncio.gather(*(world.fetch(submit(number)) for number in range(tasks)))
        await asyncio.sleep(AWAY_AT_SECONDS - loop.time())
        coming = asyncio.create_task(come(world, range(tasks, tasks + others)))
        seen.back_at = AWAY_AT_SECONDS + away_seconds
        model.go_away(away_seconds, absence)
        counting = asyncio.create_task(count_rows(world, away_seconds, seen))
        for at, other in (*((at, None) for at in kill_at), *changes):
            await asyncio.sleep(AWAY_AT_SECONDS + at - loop.time())
            seen.routes.append({row["route"] for row in rows_of(world)})
            if other is None:
                world.restart()
            else:
                world.deploy(other)
        while loop.time() < until:
            await asyncio.sleep(5)
            seen.rows = rows_of(world)
            if coming.done() and all(row["finished_at"] is not None for row in seen.rows):
                break
        await counting

    world.run(scenario)
    seen.routes.append({row["route"] for row in seen.rows})
    return seen


def check_patience(seen: Seen, tasks: int, away_seconds: float, *, pause_most: float) -> None:
    assert [(row["status"], row["completed"]) for row in seen.rows] == [("completed", CHUNKS)] * tasks
    for number in range(tasks):
        task = f"t{number}"
        asked, first = seen.asked(task), seen.first_success(task)
        in_an_hour = max((sum(at <= other < at + 3_600 for other in asked) for at in asked), default=0)
        assert in_an_hour <= PROBES_AN_HOUR_MOST
        assert first - seen.back_at <= pause_most
        assert seen.width(task, first, first + 5) >= CONCURRENCY
    assert sum(row["calls_settled"] + row["calls_in_doubt"] for row in seen.rows) > tasks * CHUNKS or away_seconds < 2


@pytest.mark.parametrize("absence", ["5xx", "unreachable", "hang"])
@pytest.mark.parametrize("away_seconds", [1, 30, 300, 1_800])
@pytest.mark.parametrize("deployment", [TOP, FREE], ids=["queue", "objects"])
def test_a_task_waits_for_its_model(deployment: Deployment, away_seconds: float, absence: Absence):
    seen = work(deployment, 1, away_seconds, absence)
    check_patience(seen, 1, away_seconds, pause_most=min(2 * away_seconds, 300) + 25)


@pytest.mark.parametrize("absence", ["5xx", "unreachable", "hang"])
@pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])
def test_what_an_hour_of_waiting_costs(deployment: Deployment, absence: Absence):
    seen, nobody = (work(deployment, tasks, 3_600, absence, patience=7_200) for tasks in (1, 0))
    read, written = (most - least for most, least in zip(seen.rows_while_away, nobody.rows_while_away, strict=True))
    assert 17 <= len(seen.asked("t0")) <= 22
    assert 100 < written <= (170 if deployment is DIRECT else 135)
    assert 200 < read <= 370


MANY = [pytest.param(500, seconds, marks=pytest.mark.campaign) for seconds in (1, 30, 300, 1_800)]


@pytest.mark.parametrize(("tasks", "away_seconds"), [(200, 1), *MANY])
def test_many_tasks_wait_for_their_model(tasks: int, away_seconds: float):
    seen = work(TOP, tasks, away_seconds, "5xx")
    check_patience(seen, tasks, away_seconds, pause_most=min(2 * away_seconds, 300) + AWAY_TURN)


def test_waiting_tasks_share_their_questions():
    asked = []
    for tasks in (10, 50):  # the queue accepts only the share of one tenant's tasks
        seen = work(TOP, tasks, 1_800, "5xx", isolates=1)
        assert {row["status"] for row in seen.rows} == {"completed"}
        away_at = AWAY_AT_SECONDS + limits.BROWN_OUT_SECONDS + 10
        asked.append(sum(at > away_at for number in range(tasks) for at in seen.asked(f"t{number}")))
    assert asked[1] < 2 * asked[0]


@pytest.mark.parametrize("away_seconds", [1, 30, 300, 1_800])
def test_the_direct_route_waits_for_the_sweep(away_seconds: float):
    seen = work(DIRECT, 1, away_seconds, "5xx")
    check_patience(seen, 1, away_seconds, pause_most=min(2 * away_seconds, 300) + 25 + CRON_SECONDS)


def test_a_task_that_stays_narrow_is_noticed(monkeypatch: pytest.MonkeyPatch):
    narrow, once = Patience.narrow, set[Patience]()

    def for_good(patience: Patience, now: float) -> bool:
        if narrow(patience, now):
            once.add(patience)
        return patience in once

    monkeypatch.setattr(Patience, "narrow", for_good)
    seen = work(TOP, 1, 30, "5xx")
    with pytest.raises(AssertionError, match="width"):
        check_patience(seen, 1, 30, pause_most=85)


def test_a_wait_goes_on_where_another_deployment_takes_over():
    seen = work(QUEUE, 2, 1_800, "5xx", changes=((100, FREE), (900, QUEUE)))
    assert seen.routes == [{Route.QUEUE}, {Route.DURABLE_OBJECT}, {Route.QUEUE}]
    check_patience(seen, 2, 1_800, pause_most=325)
    assert [row["stalls"] for row in seen.rows] == [0, 0]


@pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])
def test_a_wait_survives_the_death_of_everything(deployment: Deployment):
    seen = work(deployment, 2, 1_800, "5xx", kill_at=(100, 900))
    assert [(row["status"], row["completed"], row["stalls"]) for row in seen.rows] == [("completed", CHUNKS, 0)] * 2
    for number in range(2):
        assert len(seen.asked(f"t{number}")) <= PROBES_AN_HOUR_MOST
