"""A retry of gaps makes a new task: these tests say what it copies and calls, and that the old task stays."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from src.features.bulk.store import BulkStore
from src.features.gaps.gap_retries import GapRetryStore
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Route, Status, Task
from src.kernel.run.context import Ended
from src.kernel.store.admission import UNCONDITIONAL, Accepted, Conditions, LimitReached
from tests.support.steps import noted
from tests.support.store_bench import new_task
from tests.support.worker_bench import HOST, WorkerBench
from tests.unit.kernel.run.test_gaps import KEY, REFUSED, WITH_GAPS, Dies, ended, failing, kept_input

OLD, NEW, OTHER = (TaskKey(name) for name in ("task", "t:new", "t:other"))
ON = Conditions(idempotency_key=" gaps of task", digest="task")
LONG = "x" * 1_200


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(concurrency=1)
    yield made
    made.close()


def complete_with_gaps(
    bench: WorkerBench, chunks: int, *gaps: int, reduce: Reduce = Reduce.CONCAT, **terms: Any
) -> Task:
    bench.insert(chunks, reduce, structure=Structure(gaps=True), **terms)
    bench.model.act = lambda call, number: REFUSED if number in gaps else f"{number:03}{LONG}"
    assert bench.run() == Ended(Status.COMPLETED)
    bench.model.calls.clear()
    return bench.task()


def planned(bench: WorkerBench, key: TaskKey = OLD) -> Any:
    return bench.do(bench.store.beside(GapRetryStore).plan_gap_retry(key))


def retry(bench: WorkerBench, plan: Any = None) -> Any:
    store, plan = bench.store.beside(GapRetryStore), plan or planned(bench)
    return bench.do(store.retry_gaps(plan, NEW, route=Route.QUEUE, created_at=5, unclaimed_ms=1, on=ON))


def finished(bench: WorkerBench, key: TaskKey = NEW) -> Task:
    assert bench.do(bench.worker().run(key, HOST)) == Ended(Status.COMPLETED)
    task = bench.do(bench.store.task(key))
    assert isinstance(task, Task)
    return task


def rows(bench: WorkerBench, key: TaskKey) -> list[Any]:
    tables = {"tasks": "id", "texts": "task_id", "segments": "task_id", "merges": "task_id", "failures": "task_id"}
    return [bench.database.rows(f"SELECT * FROM {table} WHERE {name} = ?", key) for table, name in tables.items()]  # noqa: S608


def test_it_calls_the_gaps_alone_and_the_old_task_stays(bench: WorkerBench) -> None:
    old = complete_with_gaps(bench, 5, 2, 4)
    before = rows(bench, OLD)
    assert isinstance(retry(bench), Accepted)
    fresh = bench.do(bench.store.task(NEW))
    assert (fresh.status, fresh.completed, fresh.failed, fresh.retry_of) == ("pending", 3, 0, OLD)
    assert (fresh.usage.minimum_calls, fresh.usage.model_calls) == (2, 0)
    bench.model.act = lambda call, number: f"new {number}"
    task = finished(bench)
    assert len(bench.model.calls) == 2
    assert (task.usage.model_calls, task.usage.minimum_calls, task.coverage) == (2, 2, None)
    assert str(task.result).split("\n\n")[1::2] == ["new 1", "new 2"]
    assert str(task.result).split("\n\n")[::2] == str(old.result).split("\n\n")
    assert rows(bench, OLD) == before


def test_it_makes_only_the_merges_above_a_gap_again(bench: WorkerBench) -> None:
    old = complete_with_gaps(bench, 8, 3, reduce=Reduce.MERGE)
    plan = [json.loads(row["ends"]) for row in bench.database.rows("SELECT ends FROM merges ORDER BY level")]
    assert plan[0] == [2, 4, 6, 8]
    assert isinstance(retry(bench), Accepted)
    bench.model.act = lambda call, number: f"new {number}" + LONG
    task = finished(bench)
    assert len(bench.model.calls) == 1 + len(plan) == task.usage.minimum_calls
    first_merge = bench.model.calls[1][1].user
    assert first_merge.split("\n\n")[0].startswith("new 1")
    assert task.result != old.result
    levels = bench.database.rows("SELECT ends FROM merges WHERE task_id = ? ORDER BY level", NEW)
    assert [json.loads(row["ends"]) for row in levels] == plan


def test_the_merges_above_a_call_that_failed_only_once_are_copied(bench: WorkerBench) -> None:
    bench.insert(8, Reduce.MERGE, structure=Structure(gaps=True))
    failing = {3: REFUSED, 7: ModelUnavailable("503")}
    bench.model.act = lambda call, number: failing.get(number, f"{number:03}{LONG}")
    assert bench.run() == Ended(Status.COMPLETED)
    assert [gap.chunk for gap in bench.task().gaps] == [2]
    levels = bench.database.rows("SELECT ends FROM merges ORDER BY level")
    assert json.loads(levels[0]["ends"]) == [2, 4, 6, 8]
    assert planned(bench).minimum_calls == 1 + len(levels)


@pytest.mark.parametrize(("at_once", "chars", "most"), [(2, 10**6, 2), (500, 2 * len(LONG) + 500, 2), (3, 10**6, 3)])
def test_merge_outputs_are_read_in_pages(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, at_once: int, chars: int, most: int
) -> None:
    monkeypatch.setattr(limits, "MERGE_OUTPUTS_COPIED", at_once)
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", chars)
    complete_with_gaps(bench, 16, 3, reduce=Reduce.MERGE)
    levels = bench.database.rows("SELECT ends FROM merges WHERE task_id = ? ORDER BY level", OLD)
    outputs = [(level, place) for level, row in enumerate(levels, 1) for place in range(len(json.loads(row["ends"])))]
    assert len(outputs) > 2 * most
    pages = noted(monkeypatch, GapRetryStore, "_merged")
    plan = planned(bench)
    assert max(len(places) for *_, places in pages) == most
    assert [(level, place) for *_, level, places in pages for place in places] == outputs
    assert sum(len(piece.places.split(",")) for piece in plan.merged) == len(outputs) - len(levels)
    assert isinstance(retry(bench), Accepted)
    bench.model.act = lambda call, number: f"new {number}" + LONG
    finished(bench)
    assert len(bench.model.calls) == 1 + len(levels)


def test_a_task_that_is_erased_while_its_merges_are_read_has_no_plan(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete_with_gaps(bench, 8, 3, reduce=Reduce.MERGE)
    read = GapRetryStore._merged

    async def late(store: GapRetryStore, old_key: TaskKey, level: int, places: Sequence[int]) -> Any:
        await bench.store.erase(OLD)
        return await read(store, old_key, level, places)

    monkeypatch.setattr(GapRetryStore, "_merged", late)
    assert planned(bench) is None


def test_cut_off_outputs_that_are_made_again_are_not_counted(bench: WorkerBench) -> None:
    """Of three outputs that were cut off, the retry copies those of two chunks."""
    bench.insert(3, Reduce.MERGE, structure=Structure(gaps=True))
    bench.model.act = lambda call, number: REFUSED if number == 2 else ModelReply(f"{number}", 1, 1, "length")
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.task().truncated == 3
    assert isinstance(retry(bench), Accepted)
    assert bench.do(bench.store.task(NEW)).truncated == 2
    bench.model.act = lambda call, number: "whole"
    assert finished(bench).truncated == 2


def test_only_a_task_that_completed_with_gaps_is_retried_so(bench: WorkerBench) -> None:
    assert planned(bench) is None
    bench.insert(2, structure=Structure(gaps=True))
    assert planned(bench) is None
    assert bench.run() == Ended(Status.COMPLETED)
    assert planned(bench) is None


@pytest.mark.parametrize("error", [None, ModelUnavailable("503")], ids=["without failures", "with a failed call"])
def test_a_task_without_gaps_has_none_to_retry(bench: WorkerBench, error: ModelUnavailable | None) -> None:
    complete_with_gaps(bench, 5, 5)
    bench.model.act = lambda call, number: error if number == 1 else None
    new = new_task(OTHER, 3, Reduce.CONCAT, 5, structure=Structure(gaps=True))
    bench.do(bench.store.insert(new, bench.settings.lease_ms))
    finished(bench, OTHER)
    assert len(bench.model.calls) == (3 if error is None else 4)
    assert planned(bench, OTHER) is None
    assert [bench.do(bench.store.beside(GapRetryStore).has_gaps(key)) for key in (OLD, OTHER)] == [True, False]


def test_it_has_the_deadlines_time_again(bench: WorkerBench) -> None:
    complete_with_gaps(bench, 2, 2, deadline_ms=60_000)
    bench.do(asyncio.sleep(3_600))
    assert isinstance(retry(bench), Accepted)
    (row,) = bench.database.rows("SELECT deadline_at FROM tasks WHERE id = ?", NEW)
    assert row["deadline_at"] == bench.database.now_ms() + 60_000
    assert finished(bench).coverage is None


def test_it_makes_nothing_of_a_task_that_was_erased_in_between(bench: WorkerBench) -> None:
    complete_with_gaps(bench, 3, 2)
    plan = planned(bench)
    bench.do(bench.store.erase(OLD))
    assert isinstance(retry(bench, plan), LimitReached)
    assert rows(bench, NEW) == [[], [], [], [], []]


def test_the_erasure_of_the_old_task_leaves_the_new_one(bench: WorkerBench) -> None:
    complete_with_gaps(bench, 3, 2)
    assert isinstance(retry(bench), Accepted)
    bench.do(bench.store.erase(OLD))
    bench.model.act = lambda call, number: "new"
    assert str(finished(bench).result).split("\n\n")[1] == "new"


def test_a_worker_that_dies_repeats_only_what_was_in_flight(bench: WorkerBench) -> None:
    complete_with_gaps(bench, 6, 2, 3, 4)
    assert isinstance(retry(bench), Accepted)

    def act(call: Any, number: int) -> str:
        if number == 2:
            raise Dies
        return "new"

    bench.model.act = act
    with pytest.raises(Dies):
        bench.do(bench.worker().run(NEW, HOST))
    bench.do(asyncio.sleep(bench.settings.lease_seconds * 4))
    task = finished(bench)
    assert (task.usage.model_calls, task.usage.in_doubt, task.completed) == (4, 1, 6)


def test_it_may_leave_gaps_of_its_own(bench: WorkerBench) -> None:
    complete_with_gaps(bench, 4, 2, 3)
    assert isinstance(retry(bench), Accepted)
    bench.model.act = lambda call, number: REFUSED if number == 1 else "new"
    task = finished(bench)
    assert ([gap.chunk for gap in task.gaps], task.coverage) == ([1], 0.75)
    assert planned(bench, NEW).minimum_calls == 1


@pytest.mark.parametrize("bulk", [False, True], ids=["one", "bulk"])
def test_a_failed_merge_that_is_retried_shows_its_gaps_all_the_time(bench: WorkerBench, bulk: bool) -> None:
    """The outputs of merges may have been made without the chunks that are gaps."""
    bench.insert(3, Reduce.MERGE, **WITH_GAPS)
    bench.model.act = failing(REFUSED, 2, 4)
    task = ended(bench)
    assert (task.status, task.completed, task.failed) == ("failed", 2, 1)
    if bulk:
        assert bench.do(bench.store.beside(BulkStore).retry_all("", {KEY: 0}, 1000, UNCONDITIONAL)) == [KEY]
    else:
        assert bench.do(bench.store.retry(KEY, 1000)) is not None
    task = bench.task()
    assert (task.status, task.failed, [gap.chunk for gap in task.gaps]) == ("pending", 1, [1])
    assert task.coverage == 2 / 3
    task = ended(bench)
    assert (task.status, [gap.chunk for gap in task.gaps], task.coverage) == ("completed", [1], 2 / 3)
    assert (task.failed, task.usage.model_calls, kept_input(bench)) == (1, 5, "xxx")
    assert planned(bench, KEY).minimum_calls == 2
