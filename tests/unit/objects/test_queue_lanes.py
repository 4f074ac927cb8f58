"""Long tasks with lanes, in virtual time: time limits of the host, waits for D1, and calls answered in parts."""

import asyncio
import json
from collections.abc import Callable, Iterator
from random import Random
from statistics import mean
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.errors import CallAborted, CallerLost
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route, Status
from src.kernel.run.log import Log
from src.objects.lane import Lane
from src.objects.laned_caller import Lanes
from tests.support.queue_bench import ALONE, LONG, TASK, QueueBench
from tests.support.worker_bench import WorkerBench


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


CHUNKS = 334
WIDTH = limits.LANES_MOST * limits.LANE_CALLS
SUBMISSION_ROWS = 2


class Spent(NamedTuple):
    """What a task has cost, for each chunk, and the share of the width that its calls used."""

    share: float
    rows: float
    groups: int
    looks: int


def spent(chunks: int, least: float, most: float, seed: int = 0, **variables: Any) -> Spent:
    """Run a task whose calls' lengths the seed draws, with 20 ms for each D1 call. Every call is made once."""
    queue, dice = QueueBench(chunks, **variables), Random(seed)
    bench, drawn = queue.bench, list[float]()
    bench.database.seconds = 0.02
    announced: list[int] = []

    def seconds(number: int) -> float:
        (row,) = bench.database.rows("SELECT json_array_length(in_flight) AS calls FROM tasks")
        announced.append(row["calls"])
        drawn.append(dice.uniform(least, most))
        return drawn[-1]

    bench.model.seconds = seconds
    while queue.task.status is Status.PENDING:
        queue.consume()
    task, calls, width = queue.task, bench.model.calls, WIDTH if queue.coordinators.groups else limits.LANE_CALLS
    assert (task.status, task.usage.model_calls, task.usage.in_doubt) == (Status.COMPLETED, chunks, 0)
    assert len(calls) == chunks
    assert max(announced) <= width  # no call is announced before it has a place
    took = max(at + one for (at, _), one in zip(calls, drawn, strict=True)) - calls[0][0]
    rows = sum(json.loads(line)["rows_written"] for line in queue.lines if '"event":"run_ended"' in line)
    bench.close()
    share = sum(drawn) / (width * took)
    return Spent(share, (rows + SUBMISSION_ROWS) / chunks, len(queue.coordinators.groups), queue.coordinators.looks)


@pytest.mark.parametrize("objects", [True, False], ids=["lanes", "alone"])
def test_calls_of_different_lengths_use_the_width(objects: bool):
    found = [spent(CHUNKS, 0.75, 2.25, seed, objects=objects) for seed in range(3)]
    assert mean(one.share for one in found) >= 0.85
    assert max(one.rows for one in found) <= 1.5
    # The lanes ask the database less often than for each group: within the time that it has allowed, they know.
    assert all(one.looks <= CHUNKS / 3 for one in found)


@pytest.mark.parametrize(("least", "most"), [(1.5, 1.5), (1.4, 1.6), (4.5, 5.5)])
def test_calls_of_like_lengths_are_answered_together(least: float, most: float):
    found = spent(CHUNKS, least, most)
    assert found.groups == -(-CHUNKS // limits.LANE_CALLS)
    assert found.looks <= found.groups
    assert found.rows <= 0.1


def test_an_invocation_with_a_small_allowance_takes_whole_answers():
    found = spent(CHUNKS, 0.75, 2.25, PLAN="free")
    assert found.groups == -(-CHUNKS // limits.LANE_CALLS)


class LaneBench:
    """A lane whose calls end when the test says so, by the text of the call."""

    def __init__(self) -> None:
        self.bench = WorkerBench()
        self.lane = Lane()
        self.ends: dict[str, asyncio.Event] = {}
        provider = SimpleNamespace(infer=self._infer)
        store = SimpleNamespace(may_start=self._may_start)
        self.worker: Any = SimpleNamespace(store=store, provider=provider, settings=self.bench.settings)
        self.looks = 0
        self.left_ms: int | None = 2_000  # what the database allows; None if the claim is over

    async def _may_start(self, task_key: TaskKey, fence: int) -> int | None:
        self.looks += 1
        return self.left_ms

    async def _infer(self, call: ModelCall) -> ModelReply:
        text = call.user if call.body is None else str(call.body["text"])
        await self.ends.setdefault(text, asyncio.Event()).wait()
        return ModelReply(text, 1, 1)

    def new(self, text: str, number: int) -> Wire:
        return wire.numbered(wire.write_call(ModelCall("", text, "m")), number, in_parts=True)

    def line(self, text: str, number: int) -> Wire:
        return wire.numbered(wire.write_call(ModelCall("", "", "m", body={"text": text})), number, in_parts=True)

    def ask(self, *calls: Wire, ending: tuple[str, ...] = (), fence: int = 1) -> list[Wire]:
        async def play() -> list[Wire]:
            answer = asyncio.ensure_future(self.lane.infer(self.worker, TASK, fence, list(calls)))
            await asyncio.sleep(0.1)
            for text in ending:
                self.ends.setdefault(text, asyncio.Event()).set()
            return await answer

        found: list[Wire] = self.bench.do(play())
        return found


@pytest.fixture
def lane() -> Iterator[LaneBench]:
    made = LaneBench()
    yield made
    made.bench.close()


def held(number: int) -> Wire:
    return wire.write_held(1, number, in_parts=True)


def test_a_lane_answers_for_the_calls_that_have_ended(lane: LaneBench):
    first = lane.ask(lane.new("a", 1), lane.new("b", 2), lane.new("c", 3), ending=("b",))
    assert [answer.get("output") for answer in first] == [None, "b", None]
    assert first[0] == first[2] == wire.GOES_ON
    second = lane.ask(held(1), held(3), lane.new("d", 4), ending=("c", "d"))
    assert [answer.get("output") for answer in second] == [None, "c", "d"]
    (last,) = lane.ask(held(1), ending=("a",))
    assert last["output"] == "a"
    assert lane.looks == 1


def test_lines_of_a_batch_are_answered_in_parts_too(lane: LaneBench):
    """A line that goes on is answered later, beside a line that joins it."""
    first = lane.ask(lane.line("a", 1), lane.line("b", 2), ending=("b",))
    assert [answer.get("output") for answer in first] == [None, "b"]
    second = lane.ask(held(1), lane.line("c", 3), ending=("a", "c"))
    assert [answer.get("output") for answer in second] == ["a", "c"]


def test_a_lane_that_lost_its_memory_says_so_at_once(lane: LaneBench):
    lost, other = lane.ask(held(7), lane.new("a", 8))
    assert type(wire.read_outcome(lost)) is CallerLost
    assert other == wire.GOES_ON


@pytest.mark.parametrize("fence", [1, 2])
def test_a_call_that_goes_on_is_aborted_too(lane: LaneBench, fence: int):
    lane.ask(lane.new("a", 1), lane.new("b", 2), ending=("b",))
    lane.lane.abort(fence)
    (aborted,) = lane.ask(held(1))
    assert type(wire.read_outcome(aborted)) is CallAborted
    (refused,) = lane.ask(lane.new("c", 3))
    assert refused["error"] == "not_started"


def test_a_later_claim_does_not_get_the_calls_of_an_earlier_one(lane: LaneBench):
    lane.ask(lane.new("a", 1), lane.new("b", 2), ending=("b",))
    (unknown,) = lane.ask(held(1), fence=2)
    assert type(wire.read_outcome(unknown)) is CallerLost
    lane.ask(lane.new("c", 1), ending=("c",), fence=2)
    assert lane.looks == 2


def test_a_lane_whose_claim_is_over_starts_no_call(lane: LaneBench):
    (made,) = lane.ask(lane.new("a", 1), ending=("a",))
    assert made["output"] == "a"
    lane.left_ms = None
    lane.bench.do(asyncio.sleep(1))  # half of the time that the database allowed, in which the lane does not ask
    for fence in (1, 2):
        (refused,) = lane.ask(lane.new("b", 2), ending=("b",), fence=fence)
        assert refused["error"] == "not_started"


def test_a_sender_of_an_older_release_gets_whole_answers(lane: LaneBench):
    calls = [wire.write_call(ModelCall("", text, "m")) for text in "ab"]

    async def later() -> None:
        await asyncio.sleep(5)
        lane.ends["b"].set()

    async def play() -> list[Wire]:
        ends = asyncio.ensure_future(later())
        lane.ends["a"] = asyncio.Event()
        lane.ends["a"].set()
        found = await lane.lane.infer(lane.worker, TASK, 1, calls)
        await ends
        return found

    assert [answer["output"] for answer in lane.bench.do(play())] == ["a", "b"]


def test_a_coordinator_that_is_lost_loses_the_calls_that_went_on():
    queue, dice = QueueBench(CHUNKS), Random(1)
    queue.bench.model.seconds = lambda number: dice.uniform(0.75, 2.25)
    infer, failed = queue.coordinators.infer, list[int]()

    async def failing(task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        if not failed and wire.lane_of(calls) is not None:
            failed.append(len(calls))
            raise ConnectionError
        return await infer(task_key, fence, lanes, calls, seconds)

    queue.coordinators.infer = failing  # type: ignore[method-assign]
    queue.consume()
    assert queue.task.status is Status.COMPLETED
    made = len(queue.bench.model.calls)
    assert CHUNKS < made <= queue.task.usage.model_calls == CHUNKS + failed[0]
    queue.bench.close()
