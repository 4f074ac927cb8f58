"""How many calls a merge needs at least, before its merge calls are planned."""

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.context import Ended
from src.kernel.run.ledger import Ledger
from src.kernel.store.claims import CallKey
from tests.support.worker_bench import HOST, WorkerBench


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(concurrency=1)
    yield made
    made.close()


def test_a_merge_that_is_not_planned_counts_as_one_call(bench: WorkerBench) -> None:
    bench.insert(3, Reduce.MERGE)
    seen = list[tuple[int, int]]()

    async def polled() -> object:
        running = asyncio.ensure_future(bench.worker().run(TaskKey("task"), HOST))
        while not running.done():
            task = await bench.store.task(TaskKey("task"))
            assert task is not None
            seen.append((task.completed, task.usage.minimum_calls))
            await asyncio.sleep(0.5)
        return running.result()

    assert bench.do(polled()) == Ended(Status.COMPLETED)
    assert {completed for completed, _ in seen} > {0, 1, 2}
    assert {minimum for _, minimum in seen} == {4}


def looked_at(chunks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    looks, all_done = [0], Ledger.all_done

    def counting(ledger: Ledger, keys: Iterable[CallKey]) -> bool:
        def taken() -> Iterator[CallKey]:
            for key in keys:
                looks[0] += 1
                yield key

        return all_done(ledger, taken())

    monkeypatch.setattr(Ledger, "all_done", counting)
    made = WorkerBench(concurrency=1)
    made.insert(chunks, Reduce.MERGE)
    assert made.run() == Ended(Status.COMPLETED)
    made.close()
    monkeypatch.undo()
    return looks[0]


def test_a_look_whether_a_level_is_done_costs_the_same_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(160, monkeypatch) < 2.2 * looked_at(80, monkeypatch)
