"""`python -m bench.sweeps` measures how many rows a cron run writes on a day on which a task ends each minute.

The cron runs use the Worker's store over SQLite, in virtual time. `bench.free_plan` runs cron every two seconds, and
therefore has too few of the writes that depend on the clock.
"""

import asyncio

from src.kernel.domain import limits
from src.kernel.domain.task import Reduce
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

MINUTES = 30
RETENTION_MS = 30 * 86_400_000
END = (
    "UPDATE tasks SET status = 'completed', completed = 1, started_at = ?1, finished_at = ?1,"
    " wake_at = ?1 + ?2 WHERE id = ?3"
)


def cron_rows() -> float:
    """Return how many rows a cron run writes on average over some minutes, two days after an equal period.

    In both periods, tasks end at the same times after the period's beginning. After two days, each new sample and each
    new five-minute sum makes the cron run delete an old one.
    """
    bench = WorkerBench(storage_mb_most=450)
    try:
        _part(bench, 0)
        return _part(bench, limits.HISTORY_SECONDS) / MINUTES
    finally:
        bench.close()


def _part(bench: WorkerBench, begins_at: float) -> int:
    written = 0
    for minute in range(MINUTES):
        _pass(bench, begins_at + 60.0 * minute)
        now_ms = START_MS + round(bench.loop.time() * 1000)
        name = f"local:{now_ms}"
        bench.do(bench.store.insert(new_task(name, 1, Reduce.CONCAT, now_ms), RETENTION_MS))
        bench.database.rows(END, now_ms, RETENTION_MS, name)
        _pass(bench, begins_at + 60.0 * minute + 30.0)
        worker = bench.worker()
        bench.do(new_sweep(worker, []).run())
        written += worker.meter.rows_written
    return written


def _pass(bench: WorkerBench, until: float) -> None:
    bench.do(asyncio.sleep(until - bench.loop.time()))


if __name__ == "__main__":
    print(f"{cron_rows():.2f} rows written by a cron run")
