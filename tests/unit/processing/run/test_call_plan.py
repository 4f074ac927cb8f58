"""How many calls a merge needs at least, before its merge calls are planned."""

import asyncio
from collections.abc import Iterator

import pytest

from src.core.ids import TaskKey
from src.core.states import Status
from src.core.task import Reduce
from src.processing.outcomes import Ended
from src.processing.run import call_plan, ledger
from tests.support.steps import counted
from tests.support.text_bench import TextBench
from tests.support.worker_bench import HOST, WorkerBench


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """Make a worker that makes one call at a time."""
    made = WorkerBench(concurrency=1)
    yield made
    made.close()


def test_a_merge_that_is_not_planned_counts_as_one_call(bench: WorkerBench) -> None:
    """While the chunks of a merge are called, polls show that it needs one call more than it has chunks."""
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


@pytest.mark.parametrize(("spare", "status"), [(0, Status.COMPLETED), (-1, Status.FAILED)])
def test_a_budget_for_each_chunk_and_one_merge_suffices_for_a_text_in_a_file(spare: int, status: Status) -> None:
    """Such a text is cut after its submission, and the task fails before its first call if its budget is too small."""
    made = TextBench()
    made.begin_text(b"One two three. " * 10, reduce=Reduce.MERGE, max_calls=5 + spare)
    task = made.work_to_end()
    assert (task.total, task.status, len(made.model.calls)) == (4, status, 5 if status is Status.COMPLETED else 0)
    made.close()


def lines_of(chunks: int) -> int:
    """Return how many lines of the plan and of the ledger a merge of so many chunks executes."""
    made = WorkerBench(concurrency=1)
    made.insert(chunks, Reduce.MERGE)
    with counted(call_plan, ledger) as steps:
        assert made.run() == Ended(Status.COMPLETED)
    made.close()
    return steps.lines


def test_the_work_of_a_plan_grows_with_the_calls_alone() -> None:
    """A run looks after each call whether the level is done. The look costs the same for each size of the level."""
    assert lines_of(160) < 2.2 * lines_of(80)
