"""The webhook deliveries that the transactions write that end tasks."""

from collections.abc import Iterator

import pytest

from src.features.webhooks.endpoints_store import WebhookStore
from src.features.webhooks.rules import Event, endpoint_key_of
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.store.claims import Fail
from src.kernel.store.d1 import Database
from tests.support.batch_bench import KEY, BatchBench, lines
from tests.support.store_bench import FAILURE, RETENTION_MS, StoreBench

TASK = TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


@pytest.mark.parametrize("endpoints", [1, 2])
@pytest.mark.parametrize("state", ["state = 1", "state = 2", "state = 0, outcome = 'delivered'"])
def test_an_end_that_is_written_twice_has_one_delivery_for_each_endpoint(
    bench: StoreBench, endpoints: int, state: str
) -> None:
    webhooks = WebhookStore(Database(bench.database, Meter()))
    for number in range(endpoints):
        new = (endpoint_key_of("local", f"we_{number:024x}"), "", "https://a.example/", tuple(Event))
        assert bench.run(webhooks.insert(*new))
    bench.insert(TASK)
    claim = bench.claim(TASK)
    assert bench.step(claim, Fail(RETENTION_MS, FAILURE), failed=1)
    bench.database.rows(f"UPDATE webhook_deliveries SET {state}")  # noqa: S608 - one of the states above
    before = bench.database.rows("SELECT * FROM webhook_deliveries")
    assert len(before) == endpoints
    assert bench.step(claim, Fail(RETENTION_MS, FAILURE), failed=1)
    assert bench.database.rows("SELECT * FROM webhook_deliveries") == before


def test_the_end_of_a_batch_is_told_when_its_files_are_complete() -> None:
    bench = BatchBench()
    new = (endpoint_key_of("local", f"we_{1:024x}"), "", "https://a.example/", tuple(Event))
    assert bench.do(WebhookStore(Database(bench.database, Meter())).insert(*new))
    bench.begin(lines(3))
    bench.do(bench.store().cancel(KEY, RETENTION_MS))
    assert bench.database.rows("SELECT event FROM webhook_deliveries") == []
    bench.sweep_to_end()
    assert bench.database.rows("SELECT event FROM webhook_deliveries") == [{"event": "batch.cancelled"}]
    bench.database.close()
