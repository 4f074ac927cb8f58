"""The sweep's duty to complete the files of batches."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from src.features.batches.status import BatchStatus
from src.features.batches.work.finalizing import Finalizing
from src.features.batches.work.writer import BatchWriter
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.run.context import Released, RunOutcome
from src.kernel.work.sweep.duty import SweepAllowance, do
from src.kernel.work.worker import Host, Worker
from tests.support.batch_bench import KEY, BatchBench, lines
from tests.support.invocations import new_sweep

RETENTION_MS = 1_000_000


@pytest.fixture
def bench() -> Iterator[BatchBench]:
    made = BatchBench()
    made.begin(lines(3))
    made.do(made.store().cancel(KEY, RETENTION_MS))
    yield made
    made.close()


def test_the_sweep_completes_a_batch(bench: BatchBench) -> None:
    bench.do(new_sweep(bench.worker(), ()).run())
    assert bench.batch().status is BatchStatus.CANCELLED


def test_batches_whose_calls_may_still_be_recorded_keep_no_other_batch_waiting(bench: BatchBench) -> None:
    for number in range(3):
        key = TaskKey(f"greedy:01900000-0000-7000-8000-00000000000{number}")
        bench.submit(key=key)
        bench.do(bench.store().cancel(key, RETENTION_MS))
    bench.database.rows("UPDATE tasks SET in_flight = '[[0,0]]', announced_at = finished_at WHERE id LIKE 'greedy:%'")
    bench.database.rows("UPDATE batches SET writer_until = 1 WHERE task_id = ?", KEY)
    bench.settings = replace(bench.settings, plan="free")
    bench.do(new_sweep(bench.worker(), ()).run())
    assert bench.batch().status is BatchStatus.CANCELLED


@pytest.mark.parametrize(
    ("calls_left", "statements_left", "ends"), [(16, 23, True), (15, 23, False), (16, 22, False), (99, 99, True)]
)
def test_the_sweep_begins_no_batch_for_which_it_has_too_little_left(
    bench: BatchBench, calls_left: int, statements_left: int, ends: bool
) -> None:
    worker = bench.worker()
    worker.meter.spend(bench.settings.subrequests - calls_left)
    worker.meter.statements = bench.settings.statements - statements_left
    before = worker.meter.facts()
    allowance = SweepAllowance(bench.settings, worker.meter, 0)
    duty = Finalizing(worker)
    duty.found([{"unwritten": json.dumps([KEY])}], runs_tasks=False)
    bench.do(do(duty, allowance))
    assert (worker.meter.facts() != before) is ends
    assert bench.batch().status is (BatchStatus.CANCELLED if ends else BatchStatus.CANCELLING)
    assert worker.meter.subrequests <= bench.settings.subrequests
    assert worker.meter.statements <= bench.settings.statements


@pytest.mark.parametrize(("calls_left", "statements_left"), [(0, 99), (99, 0)])
def test_a_writer_begins_no_batch_for_which_it_has_too_little_left(
    bench: BatchBench, calls_left: int, statements_left: int
) -> None:
    worker = bench.worker()
    worker.meter.spend(bench.settings.subrequests - calls_left)
    worker.meter.statements = bench.settings.statements - statements_left
    before = worker.meter.facts()
    assert not bench.do(BatchWriter(worker).run(KEY))
    assert worker.meter.facts() == before


@pytest.mark.parametrize("is_first", [True, False])
def test_a_backlog_on_the_direct_route_leaves_the_writer_its_turn(bench: BatchBench, is_first: bool) -> None:
    """A sweep that runs tasks may spend its time on them, so in half of them the batch goes first."""
    for number in range(3):
        bench.submit(key=TaskKey(f"other:01900000-0000-7000-8000-00000000000{number}"))
    bench.pass_seconds(3 * bench.settings.lease_seconds)
    worker = replace(bench.worker(), chance=lambda: 0.0 if is_first else 0.9)
    order: list[str] = []

    async def run(self: Worker, task_key: TaskKey, host: Host) -> RunOutcome:
        order.append("task")
        await asyncio.sleep(host.seconds + 1)
        return Released(0.0)

    async def write(self: BatchWriter, task_key: TaskKey) -> bool:
        order.append("batch")
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "run", run)
        patch.setattr(BatchWriter, "run", write)
        bench.do(new_sweep(worker, ()).run())
    assert order == (["batch", "task"] if is_first else ["task"])


def test_a_batch_that_cannot_be_completed_keeps_the_sweep_from_no_other_duty(
    bench: BatchBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(self: BatchWriter, task_key: TaskKey) -> bool:
        raise RuntimeError(task_key)

    monkeypatch.setattr(BatchWriter, "run", breaks)
    bench.do(new_sweep(bench.worker(), ()).run())
    assert bench.batch().status is BatchStatus.CANCELLING
    assert [entry["task"] for entry in bench.log if entry["event"] == "batch_write_failed"] == [split_task_key(KEY)[1]]
    assert bench.database.rows("SELECT 1 FROM file_walks")
