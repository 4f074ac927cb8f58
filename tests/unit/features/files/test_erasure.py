"""The sweep erases files within its invocation's allowance."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from src.features.files.erasure import FileErasure
from src.features.files.store import file_store
from src.kernel.domain.ids import FileKey
from src.kernel.work.sweep.duty import SweepAllowance, do
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.work.sweep.test_early_erasure import fill, hold, upload
from tests.unit.kernel.work.sweep.test_sweep_allowance import invocation


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """Make a deployment on the paid plan."""
    made = WorkerBench()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("calls_left", "statements_left", "is_erased"),
    [(5, 99, True), (4, 99, False), (0, 99, False), (99, 8, True), (99, 7, False)],
)
def test_a_run_erases_no_file_that_it_has_no_allowance_for(
    bench: WorkerBench, calls_left: int, statements_left: int, is_erased: bool
):
    """A sweep that cannot afford to erase one more file does not even look for one, and leaves it to a later sweep."""
    bench.do(file_store(bench.worker()).begin(FileKey("local:file"), START_MS))
    bench.database.rows("UPDATE files SET due_at = 1")
    worker = invocation(bench, calls_left=calls_left, statements_left=statements_left)
    before = worker.meter.subrequests
    erasure = FileErasure(worker)
    erasure.found([{"wanted": 1}], runs_tasks=False)
    bench.do(do(erasure, SweepAllowance(bench.settings, worker.meter, None)))
    assert (worker.meter.subrequests > before) is is_erased
    assert bool(bench.database.rows("SELECT id FROM files")) is not is_erased
    assert worker.meter.subrequests <= bench.settings.subrequests
    assert worker.meter.statements <= bench.settings.statements


def test_early_erasure_waits_for_files_that_leave_the_database(bench: WorkerBench):
    """The files of erased batches free space when their bytes go, so until then a sweep erases no further tasks."""
    bench.settings = replace(bench.settings, storage_mb_most=10)
    hold(bench, 9_000_000)  # nine tenths of its limit
    fill(bench, "large", 50)
    upload(bench, "large", 3)
    bench.database.rows("UPDATE files SET expires_at = 1, due_at = 1 RETURNING id")
    assert bench.do(new_sweep(bench.worker(), ()).run()).erased == 0
    assert not bench.database.rows("SELECT id FROM files")
    bench.do(asyncio.sleep(60))
    assert bench.do(new_sweep(bench.worker(), ()).run()).erased == 50
