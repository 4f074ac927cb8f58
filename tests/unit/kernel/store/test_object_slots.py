"""Which tasks get one of the MAX_OBJECTS_AT_WORK slots of objects."""

from collections.abc import Iterator

import pytest

from src.kernel.domain.ids import TaskKey
from tests.support.store_bench import StoreBench


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    made.insert("t:1")
    made.database.rows("UPDATE tasks SET route = 'durable-object'")
    yield made
    made.database.close()


@pytest.mark.parametrize(("early_ms", "given"), [(-1, ["t:1"]), (0, ["t:1"]), (1, [])])
def test_a_task_gets_a_slot_from_the_moment_at_which_it_may_go_on(
    bench: StoreBench, early_ms: int, given: list[str]
) -> None:
    bench.database.rows("UPDATE tasks SET not_before = ?", bench.time_ms + early_ms)
    assert bench.run(bench.store.fill_slots(most=2, give_most=2)) == [TaskKey(name) for name in given]
