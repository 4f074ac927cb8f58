"""Webhook deliveries that ends of tasks write, after a restore too, and registrations that land late."""

from collections.abc import Iterator

import pytest

from src.features.webhooks.deliveries_store import DeliveryStore
from src.features.webhooks.endpoints_store import WebhookStore
from src.features.webhooks.rules import DeliveryKey, Event, endpoint_key_of
from src.kernel.domain import limits
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.domain.ids import LOCAL, TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.store.claims import Fail
from src.kernel.store.d1 import Database
from tests.support.batch_bench import KEY, BatchBench, lines
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import FAILURE, RETENTION_MS, StoreBench
from tests.unit.kernel.store.test_late_landing import outlasts
from tests.unit.kernel.store.test_restored_database import completes

TASK = TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")
NEW = (endpoint_key_of(LOCAL, "we_1"), "one", "https://x.example/", tuple(Event))


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


@pytest.mark.parametrize("seen", [True, False])
def test_a_deleted_endpoint_does_not_come_back(bench: StoreBench, *, seen: bool):
    endpoints = WebhookStore(Database(bench.database, Meter()))
    bench.database.fail(NETWORK_LOST, "later", 1 if seen else limits.STORE_SENDS)
    if seen:
        assert bench.run(endpoints.insert(*NEW))
    else:
        with pytest.raises(StoreUnavailable):
            bench.run(endpoints.insert(*NEW))
    assert bench.run(endpoints.delete(NEW[0], unseen=not seen)) == seen
    bench.run(bench.database.land())
    assert bench.database.rows("SELECT id FROM webhook_endpoints") == []


def test_the_tombstone_of_an_endpoint_outlasts_every_sweep_of_its_hour(bench: StoreBench):
    """A tombstone stays for its whole hour, since the endpoint's registration may land until then."""
    endpoints = WebhookStore(Database(bench.database, Meter()))
    assert bench.run(endpoints.insert(*NEW))
    assert bench.run(endpoints.delete(NEW[0]))
    outlasts(bench)


def test_an_end_that_comes_again_has_another_id(bench: StoreBench):
    """If a database forgets a task's end, receivers have already got a message about it."""
    bench.insert(TASK)
    new = (endpoint_key_of("local", f"we_{1:024x}"), "one", "https://hooks.example.com", (Event.TASK_COMPLETED,))
    assert bench.run(WebhookStore(Database(bench.database, Meter())).insert(*new))
    before = bench.database.snapshot()
    found: list[DeliveryKey] = []
    for _ in range(2):
        bench.database.restore(before)
        bench.pass_ms(1)
        completes(bench, bench.claim(TASK))
        found += [one.key for one in bench.run(bench.store.beside(DeliveryStore).deliveries(TASK))]
    assert [one.generation for one in found] == [0, 0]
    assert found[0].id != found[1].id
    # The old delivery has gone with the restored database, so no sweep sends it.
    assert bench.run(bench.store.beside(DeliveryStore).delivery(found[0])) is None
    assert bench.run(bench.store.beside(DeliveryStore).delivery(found[1])) is not None
