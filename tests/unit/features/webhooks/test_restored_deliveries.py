"""Deliveries of a database that is set back in time while workers are at work."""

import json
from collections.abc import Iterator

import pytest

from src.features.webhooks.deliveries_store import DeliveryStore
from src.features.webhooks.rules import DeliveryKey
from src.kernel.domain.ids import TaskKey
from tests.support.store_bench import StoreBench
from tests.unit.kernel.store.test_restored_database import completes


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def test_an_end_that_comes_again_has_another_id(bench: StoreBench):
    """If a database forgets a task's end, receivers have already got a message about it."""
    columns = {"name": "one", "url": "https://hooks.example.com", "event_types": json.dumps(["task.completed"])}
    bench.insert("local:0197b2f0-0000-7000-8000-00000000abcd")
    bench.database.rows(
        "INSERT INTO webhook_endpoints (id, name, url, event_types, created_at, updated_at) "
        "VALUES ('local:we_0a0a0a0a0a0a0a0a0a0a0a0a', ?, ?, ?, 0, 0)",
        *columns.values(),
    )
    before, key = bench.database.snapshot(), TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")
    found: list[DeliveryKey] = []
    for _ in range(2):
        bench.database.restore(before)
        bench.pass_ms(1)
        claim = bench.claim(key)
        completes(bench, claim)
        found += [one.key for one in bench.run(bench.store.beside(DeliveryStore).deliveries(key))]
    assert [one.generation for one in found] == [0, 0]
    assert found[0].id != found[1].id
    # The old delivery has gone with the restored database, so no sweep sends it.
    assert bench.run(bench.store.beside(DeliveryStore).delivery(found[0])) is None
    assert bench.run(bench.store.beside(DeliveryStore).delivery(found[1])) is not None
