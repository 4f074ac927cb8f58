"""A long task whose calls take different times, in virtual time: a finished call's place is taken at once."""

import asyncio
import json
from collections.abc import Iterator
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
from src.kernel.domain.task import Status
from src.objects.lane import Lane
from tests.support.queue_bench import TASK, QueueBench
from tests.support.worker_bench import WorkerBench

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
