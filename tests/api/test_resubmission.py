"""A submission whose idempotency key belongs to a task that is erased before the submission can answer with it."""

from collections.abc import Iterator

import pytest

from src.composition import CATALOGUE
from src.kernel.api.router import handle
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.domain.task import Task
from tests.support.api_bench import ApiBench, BenchRequest, data

ONCE = {"idempotency-key": "one"}
REQUEST = BenchRequest("POST", "http://localhost:8787/api/tasks", ONCE, b'{"input":"one"}')


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench()
    yield made
    made.close()


@pytest.mark.parametrize(("erasures", "status"), [(1, 202), (2, 202), (3, 503)])
def test_a_submission_outlives_two_erasures_of_the_task_with_its_key(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, erasures: int, status: int
) -> None:
    bench.send(REQUEST)
    read, erased = bench.store.task, list[str]()

    async def task(task_key: TaskKey) -> Task | None:
        if len(erased) < erasures:
            await bench.store.erase(task_key)
            erased.append(split_task_key(task_key)[1])
            if len(erased) < erasures:
                assert (await handle(REQUEST, bench.api, CATALOGUE)).status == 202
        return await read(task_key)

    monkeypatch.setattr(bench.store, "task", task)
    reply = bench.send(REQUEST)
    assert (reply.status, "Idempotency-Replayed" in reply.headers, len(set(erased))) == (status, False, erasures)
    left = [split_task_key(TaskKey(row["id"]))[1] for row in bench.database.rows("SELECT id FROM tasks")]
    assert left == ([data(reply)["id"]] if status == 202 else [])
