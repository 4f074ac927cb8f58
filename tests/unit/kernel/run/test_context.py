"""What a run learns of its model from the claim, which holds what earlier runs of the task saw."""

import asyncio

import pytest

from src.kernel.calls.model_health import ModelHealths
from src.kernel.domain.errors import ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.run.context import Released
from tests.support.worker_bench import HOST, WorkerBench


@pytest.mark.parametrize(("success_seconds", "at_once"), [(-60, 1), (60, 6)])
def test_only_a_success_after_the_tasks_last_failure_ends_its_wait(success_seconds: int, at_once: int) -> None:
    """A run in another isolate knows when the task's last call failed, and compares it with other tasks' successes."""
    bench, health = WorkerBench(), ModelHealths()
    bench.do(asyncio.sleep(100))
    bench.insert(9)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    assert isinstance(bench.run(), Released)
    before, failed_at = len(bench.model.calls), bench.model.calls[-1][0] + 1
    bench.do(asyncio.sleep(failed_at + 120 - bench.loop.time()))
    health.of("", bench.model.default_model).succeeded(7, failed_at + success_seconds)
    bench.do(bench.worker(health=health).run(TaskKey("task"), HOST))
    times = [at for at, _ in bench.model.calls[before:]]
    assert times.count(times[0]) == at_once
    bench.close()
