"""What a run reads from D1 and keeps in memory: its text, each part once, and the outputs that it merges."""

import json
import random
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import NewTask, Reduce, Route, Status, TaskOptions
from src.kernel.run import call_plan
from src.kernel.run.context import Ended, Released
from src.kernel.store.claims import CallKey, MergeLevel, Output
from src.kernel.store.tasks import TaskStore
from src.kernel.text.chunks import Window, cuts
from src.kernel.work.worker import Host
from tests.conformance.cases.steps import progress
from tests.support.sqlite_d1 import SqliteD1
from tests.support.steps import noted
from tests.support.store_bench import LEASE_MS, OVERDUE, RETENTION_MS, START_MS, StoreBench, outputs
from tests.support.worker_bench import WorkerBench

TASK = TaskKey("task")


class Counted(SqliteD1):
    """A database that counts the bytes of all answers of D1, as JSON, and those of the largest answer."""

    bytes_read = 0
    largest = 0

    async def _batch(self, statements: Any) -> list[Mapping[str, object]]:
        results = await super()._batch(statements)
        size = sum(len(json.dumps(result["results"], ensure_ascii=False).encode()) for result in results)
        self.bytes_read += size
        self.largest = max(self.largest, size)
        return results


def task_of(text: str, max_chars: int, overlap: int = 0, reduce: Reduce = Reduce.CONCAT) -> NewTask:
    return NewTask(
        task_key=TASK,
        route=Route.QUEUE,
        text=text,
        instructions="do",
        cuts=cuts(text, max_chars, overlap),
        overlap=overlap,
        merge_chars=2000,
        created_at=START_MS,
        options=TaskOptions(reduce=reduce),
    )


@pytest.mark.parametrize("text", ["ab", "abcd"])
def test_a_text_that_does_not_fit_its_cuts_is_refused(text: str):
    """Else the model would be called for pieces that are not the task's."""
    assert Window(0, 0, (1, 3), 0, "abc").text_of(1) == "bc"
    with pytest.raises(AssertionError, match="does not fit its cuts"):
        Window(0, 0, (1, 3), 0, text)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.support.worker_bench.SqliteD1", Counted)
    made = WorkerBench()
    made.settings = replace(made.settings, plan="free")
    yield made
    made.close()


def to_the_end(bench: WorkerBench) -> int:
    claims = 1
    while (outcome := bench.run()) != Ended(Status.COMPLETED):
        assert isinstance(outcome, Released)
        claims += 1
    return claims


def test_a_small_task_is_read_with_its_claim(free: WorkerBench):
    """A claim has the whole text of 20 chunks of 6,000 characters, so no further D1 call reads it."""
    free.do(free.store.insert(task_of("word " * 24_000, 6_000), LEASE_MS))
    before = free.database.batches
    assert to_the_end(free) == 1
    assert len(free.model.calls) == 20
    # The D1 calls are the claim, and a write for each group of up to six model calls.
    assert free.database.batches - before == 1 + 4


def merging(bench: WorkerBench, seconds: float = 0.5) -> None:
    while True:
        assert isinstance(bench.run(Host(Route.QUEUE, seconds)), Released)
        if bench.database.rows("SELECT * FROM merges"):
            break
    assert isinstance(bench.run(Host(Route.QUEUE, seconds)), Released)


def levels(bench: WorkerBench) -> list[list[int]]:
    return [json.loads(row["ends"]) for row in bench.database.rows("SELECT ends FROM merges ORDER BY level")]


@pytest.fixture
def merge():
    """Make a merge in which three outputs fit into a call, so that the levels have 40, 13, 4 and 1 outputs."""
    made = WorkerBench()
    made.insert(40, Reduce.MERGE)
    made.model.act = lambda call, number: f"{number:03} " + "y" * 596
    yield made
    made.close()


@pytest.fixture
def long_merge():
    """Make a merge in which nine outputs fit into a call, so that the levels have 200, 22, 2 and 1 outputs."""
    made = WorkerBench()
    made.insert(200, Reduce.MERGE)
    made.model.act = lambda call, number: f"{number:03} " + "y" * 196
    yield made
    made.close()


def test_later_code_goes_on_with_the_plan_that_it_finds(merge: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    """A worker whose code would group outputs differently keeps a level's stored plan, and plans only higher levels."""
    merging(merge)
    begun = levels(merge)
    assert begun == [[*range(3, 39, 3), 40]]
    monkeypatch.setattr(call_plan, "merge_ends", lambda sizes, most: (*range(2, len(sizes) - 1, 2), len(sizes)))
    to_the_end(merge)
    assert levels(merge) == [*begun, [2, 4, 6, 8, 10, 13], [2, 4, 6], [3]]
    assert len(merge.model.calls) == 40 + 13 + 6 + 3 + 1 == merge.task().usage.minimum_calls
    assert merge.task().usage.model_calls == 40 + 13 + 6 + 3 + 1


def test_a_merge_without_a_stored_plan_goes_on(merge: WorkerBench):
    merging(merge)
    before = levels(merge)
    merge.database.rows("DELETE FROM merges")
    assert isinstance(merge.run(Host(Route.QUEUE, 0.5)), Released)
    assert levels(merge) == before
    to_the_end(merge)
    assert len(merge.model.calls) == 40 + 13 + 4 + 1 == merge.task().usage.model_calls


def test_a_merge_reads_what_it_has_not_kept(merge: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    other = WorkerBench()
    other.insert(40, Reduce.MERGE)
    other.model.act = merge.model.act
    to_the_end(merge)
    monkeypatch.setattr(limits, "OUTPUTS_KEPT_CHARS", 1000)
    monkeypatch.setattr(limits, "MERGE_CALLS_READ", 2)
    to_the_end(other)
    assert sorted(call.user for _, call in other.model.calls) == sorted(call.user for _, call in merge.model.calls)
    assert other.task().result == merge.task().result
    other.close()


@pytest.mark.parametrize(("chars", "members"), [(600, 3), (200, 9)])
def test_a_merge_reads_no_more_at_once_than_it_may_keep(
    long_merge: WorkerBench, monkeypatch: pytest.MonkeyPatch, chars: int, members: int
):
    long_merge.model.act = lambda call, number: f"{number:03} " + "y" * (chars - 4)
    merging(long_merge)
    assert levels(long_merge)[0][0] == members
    most, read, reads = 5_000, TaskStore.level_outputs, list[tuple[int, int]]()

    async def counted(store: TaskStore, task_key: TaskKey, level: int, first: int, last: int) -> Mapping[int, Output]:
        found = await read(store, task_key, level, first, last)
        if level == 0:
            reads.append((len(found), sum(len(output.text) for output in found.values())))
        return found

    monkeypatch.setattr(TaskStore, "level_outputs", counted)
    monkeypatch.setattr(limits, "OUTPUTS_KEPT_CHARS", most)
    assert long_merge.run() == Ended(Status.COMPLETED)
    assert max(size for _, size in reads) <= most
    assert max(count for count, _ in reads) >= 2 * members  # one read takes the outputs of several calls if these fit


def test_a_level_that_can_be_read_at_once_costs_no_read_of_sizes(
    long_merge: WorkerBench, monkeypatch: pytest.MonkeyPatch
):
    merging(long_merge)
    measured = noted(monkeypatch, TaskStore, "level_sizes")
    assert long_merge.run() == Ended(Status.COMPLETED)
    assert [level for _, _, level in measured] == [1]  # the run measures the first level, to plan the next one


def test_of_a_segment_only_the_outputs_that_are_wanted_are_held(bench: StoreBench):
    bench.insert(chunks=100)
    claim, long = bench.claim(), "y" * 200_000
    for first in range(0, 100, 4):
        told = [one._replace(text=long) for one in outputs(*range(first, first + 4))]
        assert bench.step(claim, outputs=told, completed=first + 4)
    assert len(bench.database.rows("SELECT part FROM segments")) == 1
    index = bench.run(bench.store.chunk_index(TASK))
    assert index is not None
    for read in (bench.store.level_outputs(TASK, 0, 7, 7), bench.store.some_chunks(index, range(7, 8))):
        tracemalloc.start()
        assert len(bench.run(read)) == 1
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000, f"{peak:,} bytes"  # of 20 MB


def test_a_zombie_plans_nothing(bench: StoreBench):
    bench.insert(chunks=4, reduce=Reduce.MERGE)
    zombie = bench.claim()
    late = progress(zombie, merges=[MergeLevel(1, (4,))])
    bench.pass_ms(LEASE_MS + 1)
    heir = bench.claim()
    bench.run(bench.store.settle(zombie, late, OVERDUE, RETENTION_MS))
    assert bench.database.rows("SELECT * FROM merges") == []
    assert bench.step(heir, outputs=outputs(0, 1, 2, 3), merges=[MergeLevel(1, (2, 4))], completed=4)
    assert bench.step(heir, merges=[MergeLevel(1, (3, 4))], completed=4)
    bench.pass_ms(LEASE_MS + 1)
    found = bench.claim()
    assert (found.merges, found.merge_ends) == ((2,), (2, 4))
    assert found.outputs == {CallKey(0, position) for position in range(4)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunks", "characters", "reduce"),
    [
        (5_000, 370, Reduce.CONCAT),
        (2_500, 370, Reduce.MERGE),
        pytest.param(5_000, 100, Reduce.CONCAT, marks=pytest.mark.campaign),
        pytest.param(5_000, 370, Reduce.MERGE, marks=pytest.mark.campaign),
    ],
)
def test_the_input_is_read_once(free: WorkerBench, chunks: int, characters: int, reduce: Reduce):
    text = ("w" * (characters - 1) + " ") * chunks
    free.do(free.store.insert(task_of(text, characters, reduce=reduce), LEASE_MS))
    free.model.act = lambda call, number: "y" * 300
    assert isinstance(free.database, Counted)
    free.database.bytes_read = 0
    claims = to_the_end(free)
    assert claims > 100
    assert free.database.bytes_read <= 6 * len(text)
    assert free.database.largest <= 3 * limits.WINDOW_CHARS_MOST


@pytest.mark.slow
def test_a_merge_of_20_mb_holds_little(free: WorkerBench):
    text = ("w" * 39 + " ") * 1_250
    free.settings = replace(free.settings, plan="paid")
    free.do(free.store.insert(replace(task_of(text, 40, reduce=Reduce.MERGE), merge_chars=40_000), LEASE_MS))
    rng = random.Random(1)
    words = " ".join(rng.randbytes(4).hex() for _ in range(20_000))

    def act(call: Any, number: int) -> str:
        # The list of recorded calls would keep the texts in memory.
        free.model.calls[-12:] = [(0.0, ModelCall("", "", ""))] * min(12, number)
        start = 9 * rng.randrange(20_000 - 1_780)
        return words[start : start + 9 * 1_780 - 1]

    free.model.act = act
    tracemalloc.start()
    to_the_end(free)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(free.model.calls) == 1_250 + 625 + 312 + 156 + 78 + 39 + 19 + 9 + 4 + 2 + 1
    assert peak < 57_000_000, f"{peak:,} bytes"
