"""How many bytecodes of `src` a poll and a chunk execute, within 5 % of today: a cost that no load hides."""

import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType

import pytest

from tests.support.api_bench import ApiBench
from tests.support.worker_bench import WorkerBench

CHUNKS = 20


def counted(work: Callable[[], object]) -> int:
    """Run the work, and count the bytecodes of `src` that Python executes."""
    counts: Counter[CodeType] = Counter()
    monitoring, tool = sys.monitoring, sys.monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "bytecodes")
    monitoring.register_callback(tool, monitoring.events.INSTRUCTION, lambda code, _: counts.update((code,)))
    monitoring.set_events(tool, monitoring.events.INSTRUCTION)
    try:
        work()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    return sum(count for code, count in counts.items() if "/src/" in code.co_filename)


def test_a_poll(bench: ApiBench) -> None:
    path = f"/api/tasks/{bench.submit('abc def. ' * CHUNKS, chunk={'maxChars': 10})['id']}"
    bench.complete(path.rpartition("/")[2])
    bench.call("GET", path)  # what an isolate's first request does is not counted
    assert counted(lambda: bench.call("GET", path)) == pytest.approx(6_283, rel=0.05)


def test_a_chunk() -> None:
    bench = WorkerBench()
    bench.insert(CHUNKS)
    found = counted(bench.run)
    assert bench.task().status == "completed"
    bench.close()
    assert found / CHUNKS == pytest.approx(3_065, rel=0.05)
