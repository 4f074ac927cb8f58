"""What a lane learns of its task's claim while other tasks are worked on under claims with the same fence."""

import pytest

from src.kernel.domain.ids import TaskKey
from tests.support.store_bench import RETENTION_MS, StoreBench

TASK, OTHER = TaskKey("local:m"), TaskKey("local:n")


def may_start(bench: StoreBench, task_key: TaskKey) -> int | None:
    return bench.run(bench.store.may_start(task_key, 1))


@pytest.mark.parametrize(("ended", "going_on"), [(TASK, OTHER), (OTHER, TASK)])
def test_a_lane_starts_no_call_of_an_ended_task_while_another_task_goes_on(
    bench: StoreBench, ended: TaskKey, going_on: TaskKey
) -> None:
    for task_key in (TASK, OTHER):
        bench.insert(task_key)
        assert bench.claim(task_key).fence == 1
    assert bench.run(bench.store.cancel(ended, RETENTION_MS))[0]
    assert may_start(bench, ended) is None
    assert may_start(bench, going_on) is not None


@pytest.mark.parametrize("claimed", [(TASK, OTHER), (OTHER, TASK)])
def test_each_task_has_its_own_time_in_which_calls_may_start(
    bench: StoreBench, claimed: tuple[TaskKey, TaskKey]
) -> None:
    deadlines = {TASK: 500, OTHER: 1_500}
    for task_key in claimed:
        bench.insert(task_key, deadline_ms=deadlines[task_key])
        bench.claim(task_key)
    assert {task_key: may_start(bench, task_key) for task_key in deadlines} == deadlines
