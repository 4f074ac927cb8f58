"""Registrations of endpoints that take effect after their deletion."""

from collections.abc import Iterator

import pytest

from src.features.webhooks.endpoints_store import WebhookStore
from src.features.webhooks.rules import Event, endpoint_key_of
from src.kernel.domain import limits
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.domain.ids import LOCAL
from src.kernel.domain.meter import Meter
from src.kernel.store.d1 import Database
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import StoreBench
from tests.unit.kernel.store.test_late_landing import outlasts


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def unregister(bench: StoreBench) -> None:
    endpoints = WebhookStore(Database(bench.database, Meter()))
    new = (endpoint_key_of(LOCAL, "we_1"), "one", "https://x.example/", tuple(Event))
    assert bench.run(endpoints.insert(*new))
    assert bench.run(endpoints.delete(new[0]))


@pytest.mark.parametrize("seen", [True, False])
def test_a_deleted_endpoint_does_not_come_back(bench: StoreBench, *, seen: bool):
    """If the first send of an endpoint's registration lands after its deletion, the endpoint does not come back."""
    endpoints = WebhookStore(Database(bench.database, Meter()))
    new = (endpoint_key_of(LOCAL, "we_1"), "one", "https://x.example/", tuple(Event))
    bench.database.fail(NETWORK_LOST, "later", 1 if seen else limits.STORE_SENDS)
    if seen:
        assert bench.run(endpoints.insert(*new))
    else:
        with pytest.raises(StoreUnavailable):
            bench.run(endpoints.insert(*new))
    assert bench.run(endpoints.delete(new[0], unseen=not seen)) == seen
    bench.run(bench.database.land())
    assert bench.database.rows("SELECT id FROM webhook_endpoints") == []


def test_the_tombstone_of_an_endpoint_outlasts_every_sweep_of_its_hour(bench: StoreBench):
    """A tombstone stays for its whole hour, since the endpoint's registration may land until then."""
    unregister(bench)
    outlasts(bench)
