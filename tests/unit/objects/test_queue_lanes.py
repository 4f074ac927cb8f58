"""A long task on the queue's route, in virtual time: its lanes, the time limits of its host, and its waits for D1."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.errors import CallAborted
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route, Status
from src.kernel.run.log import Log
from src.objects.laned_caller import Lanes
from tests.support.queue_bench import ALONE, LONG, TASK, QueueBench


@pytest.fixture
def make() -> Iterator[Callable[..., QueueBench]]:
    made: list[QueueBench] = []

    def build(*arguments: Any, **options: Any) -> QueueBench:
        made.append(QueueBench(*arguments, **options))
        return made[-1]

    yield build
    for one in made:
        one.bench.close()


Make = Callable[..., QueueBench]


def test_a_long_task_has_thirty_calls_in_flight(make: Make):
    queue = make()
    queue.consume()
    task = queue.task
    assert (task.status, task.route) == (Status.COMPLETED, Route.QUEUE)
    assert queue.coordinators.most == limits.LANES_MOST * limits.LANE_CALLS
    assert len(queue.bench.model.calls) == LONG == task.usage.model_calls
    assert task.usage.in_doubt == 0
    assert max(queue.coordinators.groups) == limits.LANE_CALLS
    ((fence, at),) = queue.coordinators.closed
    assert fence == 1
    assert queue.delivery.acked_at is not None
    assert queue.delivery.acked_at <= at


@pytest.mark.parametrize(
    ("chunks", "objects", "variables"),
    [(LONG, False, {}), (limits.LANES_FROM_CHUNKS - 1, True, {}), (LONG, True, {"AI_CONCURRENCY": "1"})],
    ids=["no objects", "a short task", "one call at a time"],
)
def test_where_there_are_no_lanes_nothing_is_asked_of_objects(
    make: Make, chunks: int, objects: bool, variables: dict[str, str]
):
    queue = make(chunks, objects=objects, **variables)
    app = queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert queue.coordinators.most == int(variables.get("AI_CONCURRENCY", ALONE))
    assert (queue.coordinators.groups, queue.coordinators.signs, queue.coordinators.closed) == ([], 0, [])
    assert app.meter.subrequests == chunks + app.meter.database_calls


@pytest.mark.parametrize("objects", [True, False])
def test_the_host_leaves_lanes_their_time(make: Make, objects: bool):
    """If lanes may make calls, slice and lease allow for the way to the lanes and for their start window."""
    queue = make(objects=objects)
    worker = queue.app().worker
    lanes = Lanes(queue.app()._bindings.coordinators, Log(lambda line: None))
    for timeout, seconds in ((120, limits.QUEUE_SLICE_SECONDS), (600, 272.0 if objects else 295.0)):
        settings = Settings(provider="workers-ai", timeout_seconds=timeout)
        host = lanes.host(
            SimpleNamespace(settings=settings),  # type: ignore[arg-type]
            Route.QUEUE,
            limits.QUEUE_SLICE_SECONDS,
            limits.QUEUE_WALL_SECONDS,
        )
        assert (host.route, host.seconds) == (Route.QUEUE, seconds)
        assert host.slack_seconds == (limits.LANE_SLACK_SECONDS if objects else 0)
    assert worker.settings.provider == "workers-ai"


@pytest.mark.parametrize("error", [RuntimeError("Network connection lost."), AttributeError("close")])
def test_a_goodbye_that_fails_is_no_failure_of_the_message(make: Make, error: Exception):
    queue = make()
    queue.coordinators.breaks = error
    queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert queue.delivery.acked_at is not None
    assert not queue.delivery.retried
    assert queue.heard("close_failed")


def test_a_task_that_goes_on_elsewhere_keeps_its_coordinator(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "QUEUE_SLICE_SECONDS", 2.5)
    queue = make()
    queue.consume()
    assert queue.task.status is Status.PENDING
    assert (len(queue.sent), queue.coordinators.closed) == (1, [])
    while queue.task.status is Status.PENDING:
        queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert [fence for fence, _ in queue.coordinators.closed] == [queue.task.mark.fence]
    assert len(queue.bench.model.calls) == LONG == queue.task.usage.model_calls


@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_the_host_of_a_task_that_has_ended_is_free_within_15_s(make: Make, end: str):
    queue = make()
    queue.bench.model.seconds = lambda number: 100.0

    async def stop() -> None:
        if end == "cancel":
            await queue.bench.store.cancel(TASK, 1_000_000)
        else:
            await queue.bench.store.erase(TASK)

    queue.consume(stop, after=6.0)
    assert queue.bench.loop.time() - 6.0 < 15
    assert queue.coordinators.aborted == [1]
    assert [fence for fence, _ in queue.coordinators.closed] == [1]
    assert queue.delivery.acked_at is not None
    if end == "cancel":
        usage = queue.task.usage
        assert usage.model_calls == usage.in_doubt == len(queue.bench.model.calls) == 30


def test_a_queue_goes_on_where_objects_cannot_be_reached(make: Make):
    queue = make()
    queue.coordinators.unreachable = RuntimeError("NoGilError")
    queue.consume()
    task = queue.task
    assert (task.status, queue.coordinators.groups) == (Status.COMPLETED, [])
    assert len(queue.bench.model.calls) == LONG == task.usage.model_calls
    assert task.usage.in_doubt == 0
    assert (queue.coordinators.signs, queue.coordinators.most) == (1, ALONE)
    assert queue.heard("lanes_unreachable")


def test_calls_that_a_consumer_makes_itself_are_ended_too(make: Make):
    queue = make()
    queue.coordinators.unreachable = RuntimeError("NoGilError")
    queue.bench.model.seconds = lambda number: 100.0
    queue.consume(lambda: queue.bench.store.cancel(TASK, 1_000_000), after=6.0)
    assert queue.bench.loop.time() - 6.0 < 15
    assert queue.coordinators.aborted == []
    usage = queue.task.usage
    assert usage.model_calls == usage.in_doubt == len(queue.bench.model.calls) == ALONE
    assert CallAborted.__name__ not in "".join(queue.lines)


def test_large_answers_are_recorded_within_the_free_plans_statements(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Thirty answers that end together, each a piece, are recorded with the statements that were left for them."""
    monkeypatch.setattr(limits, "PIECE_BYTES_MOST", 900)
    queue = make(PLAN="free")
    queue.bench.model.act = lambda call, number: f"{number} {'x' * 490}"
    while queue.task.status is Status.PENDING:
        app = queue.consume()
        assert app.meter.statements <= app.settings.statements
    assert (queue.task.status, len(queue.bench.model.calls)) == (Status.COMPLETED, LONG)


FAR_SECONDS, CALL_SECONDS = 0.025, 0.2


def seconds(chunks: int, plan: str, far: float) -> float:
    queue = QueueBench(chunks, PLAN=plan)
    bench = queue.bench
    bench.database.seconds = far
    bench.model.seconds = lambda number: CALL_SECONDS
    began = bench.loop.time()
    while bench.database.rows("SELECT status FROM tasks") == [{"status": "pending"}]:  # takes no time
        queue.consume()
    took = bench.loop.time() - began
    assert (queue.task.status, len(bench.model.calls)) == (Status.COMPLETED, chunks)
    bench.close()
    return took


@pytest.mark.parametrize(
    ("chunks", "plan", "waves", "waits"), [(24, "paid", 4, 5), (240, "paid", 8, 12), (200, "free", 7, 18)]
)
def test_how_often_a_task_waits_for_d1(chunks: int, plan: str, waves: int, waits: int):
    assert seconds(chunks, plan, 0.0) == pytest.approx(waves * CALL_SECONDS)
    assert seconds(chunks, plan, FAR_SECONDS) == pytest.approx(waves * CALL_SECONDS + waits * FAR_SECONDS)
