"""A task whose database is 25 ms away, in virtual time: how often its calls wait for D1, one wait after the other."""

import pytest

from src.kernel.domain.task import Status
from tests.support.queue_bench import QueueBench

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
