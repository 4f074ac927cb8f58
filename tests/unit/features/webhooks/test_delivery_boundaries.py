"""At which millisecond a pause, a secret or a delivery of webhooks is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.features.webhooks import deliveries_store
from src.kernel.store.d1 import BoundStatement, as_json
from tests.unit.kernel.store.test_boundaries import AROUND, NOW, TASK, Table
from tests.unit.kernel.store.test_store import uses_indexes

ENDPOINT = "local:e"


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.database.close()


def endpoint(table: Table, **columns: Any) -> None:
    given = {"id": ENDPOINT, "name": "n", "url": "https://x.example", "event_types": '["task.cancelled"]'}
    table.write("webhook_endpoints", **given | {"created_at": NOW - 9, "updated_at": NOW - 9} | columns)


@AROUND
def test_an_old_secret_signs_until_its_time(table: Table, off: int) -> None:
    table.ended()
    endpoint(table, old_secret_until=NOW + off)
    for found in (table.ask(deliveries_store.ENDPOINT, endpoint=ENDPOINT), outbox(table)):
        assert bool(found[0]["old_secret_signs"]) == (off > 0)


@AROUND
def test_a_success_ends_a_pause_that_it_began_after(table: Table, off: int) -> None:
    told = {"failed_attempts": 2, "last_failure": "redirect"}
    endpoint(table, failures=3, paused_at=NOW + off, paused_until=NOW + 9_000, **told)
    table.ask(deliveries_store.NOTE_SUCCESS, endpoint=ENDPOINT, began_at=NOW)
    (row,) = table.database.rows("SELECT * FROM webhook_endpoints")
    assert (row["failures"], row["paused_until"]) == (0, 0 if off <= 0 else NOW + 9_000)
    assert (row["failed_attempts"], row["last_failure"]) == (0, None)
    table.give("webhook_endpoints", paused_at=NOW + off, paused_until=NOW + 9_000)
    table.ask(deliveries_store.NOTE_SUCCESS, endpoint=ENDPOINT, began_at=NOW)
    assert table.value("SELECT paused_until FROM webhook_endpoints") == (0 if off <= 0 else NOW + 9_000)


def fails(table: Table, began_at: int, **values: int) -> dict[str, Any]:
    """Note a failure, and return the row of its endpoint."""
    usual = {"weight": 1, "pause_ms": 1_000, "pause_most_ms": 5_000}
    named = {"endpoint": ENDPOINT, "began_at": began_at, "failure": "timeout"}
    table.ask(deliveries_store.NOTE_FAILURE, **named, **usual | values)
    (row,) = table.database.rows("SELECT * FROM webhook_endpoints")
    return row


@pytest.mark.parametrize(
    ("failures", "weight", "failed_off", "asked_ms", "then", "pause_ms"),
    [
        (0, 1, -5, 0, 1, 0),  # too few failures in a row to open the breaker
        (1, 1, -5, 0, 2, 0),
        (2, 1, -5, 0, 3, 1_000),  # the third failure in a row
        (3, 1, -5, 0, 4, 2_000),
        (4, 1, -5, 0, 5, 4_000),
        (5, 1, -5, 0, 6, 5_000),  # The doubled pause is limited to the longest pause.
        (5, 1, 0, 0, 6, 5_000),  # The attempt began when the last one failed, so it counts.
        (5, 1, 1, 0, 5, 1),  # The attempt began before the last one failed, so it does not count.
        (5, 1, 1, 1, 5, 1),  # The receiver asks for a pause no longer than the present one.
        (5, 1, 1, 2, 5, 2),
        (0, 1, -5, 700, 1, 700),  # a pause that the receiver asks for, without a breaker
        (2, 1, -5, 7_000, 3, 7_000),
        (0, 2, -5, 0, 2, 0),  # a timeout, which counts as several failures
        (2, 2, -5, 0, 3, 1_000),  # It opens the breaker, and the first pause is as long as after other failures.
        (3, 2, -5, 0, 4, 2_000),  # With the breaker open it counts as one failure.
    ],
)
def test_what_a_failure_does_to_an_endpoint(
    table: Table, failures: int, weight: int, failed_off: int, asked_ms: int, then: int, pause_ms: int
) -> None:
    endpoint(table, failures=failures, paused_at=NOW + failed_off, paused_until=NOW + failed_off)
    row = fails(table, NOW, breaker=3, weight=weight, asked_ms=asked_ms)
    assert (row["failures"], row["paused_until"]) == (then, NOW + pause_ms)
    counted = then > failures or asked_ms > failed_off > 0
    assert row["paused_at"] == (NOW if counted else NOW + failed_off)
    assert (row["failed_attempts"], row["last_failure"]) == (1, "timeout")


@pytest.mark.parametrize(("failed_off", "asked_ms", "failures"), [(-1, 0, 3), (-1, 1, 3), (-501, 0, 4), (-500, 0, 4)])
def test_an_attempt_that_began_before_the_last_failure_does_not_count(
    table: Table, failed_off: int, asked_ms: int, failures: int
) -> None:
    """Of several attempts that run and fail at the same time, only the first counts."""
    endpoint(table, failures=3, paused_at=NOW + failed_off, paused_until=NOW + failed_off)
    row = fails(table, NOW - 500, breaker=9, asked_ms=asked_ms)
    assert row["failures"] == failures
    changed = failures > 3 or asked_ms > 0
    assert row["paused_until"] == (NOW + asked_ms if changed else NOW + failed_off)
    assert row["paused_at"] == (NOW if changed else NOW + failed_off)


@pytest.mark.parametrize(("failures", "paused_off"), [(2, 0), (3, 0), (3, -1), (3, 1), (4, 0)])
def test_a_try_pauses_an_endpoint_that_has_failed_too_often(table: Table, failures: int, paused_off: int) -> None:
    table.ended()
    endpoint(table, failures=failures, paused_until=NOW + paused_off)
    outbox(table, breaker=9)
    table.give("webhook_deliveries", due_at=NOW)
    named = {"task_key": TASK, "generation": 0, "endpoint": ENDPOINT, "fence": 0}
    taken = table.ask(deliveries_store.TAKE_DELIVERY, **named, held_ms=700, breaker=3)
    assert bool(taken) == (failures < 3 or paused_off <= 0)
    table.ask(deliveries_store.PAUSE_FOR_TRIAL, endpoint=ENDPOINT, held_ms=700, breaker=3)
    tried = failures >= 3 and paused_off <= 0
    assert table.value("SELECT paused_until FROM webhook_endpoints") == NOW + (700 if tried else paused_off)


def outbox(table: Table, *, breaker: int = 3, share: int = 9) -> list[dict[str, Any]]:
    return table.ask(deliveries_store.OUTBOX, task_keys=as_json([TASK]), held_ms=1_000, breaker=breaker, share=share)


@AROUND
def test_a_delivery_for_an_endpoint_that_rests_waits(table: Table, off: int) -> None:
    """If a task ends after an endpoint's pause is over, its delivery is due at once."""
    table.ended()
    endpoint(table, paused_until=NOW + off)
    (row,) = outbox(table)
    assert row["state"] == (2 if off > 0 else 1)
    assert table.value("SELECT due_at FROM webhook_deliveries") == NOW + 1_000
    table.give("webhook_endpoints", paused_until=NOW + 5_000)
    table.database.rows("DELETE FROM webhook_deliveries")
    outbox(table)
    assert table.value("SELECT due_at FROM webhook_deliveries") == NOW + 5_000


@pytest.mark.parametrize("failures", [2, 3, 4])
def test_a_delivery_for_an_endpoint_that_has_failed_waits(table: Table, failures: int) -> None:
    table.ended()
    endpoint(table, failures=failures)
    (row,) = outbox(table)
    assert row["state"] == (2 if failures >= 3 else 1)


@pytest.mark.parametrize(
    ("share", "tenant", "held_off", "waits"),
    [(3, "local", 1, False), (2, "local", 1, True), (2, "local", 0, False), (2, "other", 1, False)],
)
def test_a_tenant_has_a_share_of_the_deliveries_under_way(
    table: Table, share: int, tenant: str, held_off: int, waits: bool
) -> None:
    """If so many deliveries of a tenant are held by their senders, the tenant's next ones wait for the sweep."""
    table.ended()
    endpoint(table)
    for number in range(2):
        key = f"{tenant}:0197b2f0-0000-7000-8000-00000000000{number}"
        held = {"state": 1, "event": "task.completed", "ended_at": NOW, "begun_at": NOW, "due_at": NOW + held_off}
        table.write("webhook_deliveries", task_id=key, generation=0, endpoint_id=ENDPOINT, **held)
    (row,) = outbox(table, share=share)
    assert row["state"] == (2 if waits else 1)


@AROUND
def test_an_endpoint_hears_of_what_ended_in_the_minute_before_it(table: Table, off: int) -> None:
    table.ended()
    endpoint(table, created_at=NOW - 1 + 60_000 + off)
    assert bool(outbox(table)) == (off <= 0)


@AROUND
def test_a_delivery_is_taken_on_from_its_time_on(table: Table, off: int) -> None:
    table.ended()
    endpoint(table)
    outbox(table)
    table.give("webhook_deliveries", due_at=NOW + off)
    named = {"task_key": TASK, "generation": 0, "endpoint": ENDPOINT, "held_ms": 700, "breaker": 3}
    assert not table.ask(deliveries_store.TAKE_DELIVERY, **named, fence=1)
    taken = table.ask(deliveries_store.TAKE_DELIVERY, **named, fence=0)
    assert bool(taken) == (off <= 0)
    if taken:
        (row,) = table.database.rows("SELECT * FROM webhook_deliveries")
        assert (row["fence"], row["due_at"], row["state"]) == (1, NOW + 700, 2)


@pytest.mark.parametrize(("paused_off", "failures"), [(-1, 0), (0, 0), (1, 0), (0, 2), (0, 3), (0, 4)])
def test_what_nobody_sent_is_put_away_while_its_endpoint_rests(table: Table, paused_off: int, failures: int) -> None:
    table.ended()
    endpoint(table)
    outbox(table)
    table.give("webhook_deliveries", due_at=NOW)
    table.give("webhook_endpoints", paused_until=NOW + paused_off, failures=failures)
    (found,) = table.ask(deliveries_store.DUE_DELIVERIES, most=5, of_each=5, breaker=3, kept_ms=9_000)
    rests = paused_off > 0 or failures >= 3
    assert bool(found["astray"]) == rests
    table.ask(deliveries_store.SORT_DELIVERIES, walk_most=5, breaker=3, kept_ms=9_000)
    assert table.value("SELECT state FROM webhook_deliveries") == (2 if rests else 1)


def test_attempts_are_counted_since_the_delivery_began(table: Table) -> None:
    """The attempts before a redelivery are shown, but do not count towards the limit of attempts."""
    table.ended()
    endpoint(table)
    outbox(table)
    tries = as_json([[NOW - 1, 500, 1, None], [NOW, 500, 1, None], [NOW + 1, 500, 1, None]])
    table.give("webhook_deliveries", attempts=tries, due_at=NOW, begun_at=NOW, state=1)
    named = {"task_key": TASK, "generation": 0, "endpoint": ENDPOINT, "fence": 0}
    (row,) = table.ask(deliveries_store.TAKE_DELIVERY, **named, held_ms=700, breaker=3)
    assert row["tries_of_day"] == 2


@pytest.mark.parametrize(
    "bound",
    [
        deliveries_store.DELIVERIES.bind(task_key="t"),
        deliveries_store.DELIVERY.bind(task_key="t", generation=0, endpoint="e"),
        deliveries_store.TAKE_DELIVERY.bind(task_key="t", generation=0, endpoint="e", fence=0, held_ms=1, breaker=5),
        deliveries_store.REDELIVER.bind(task_key="t", generation=0, endpoint="e", fence=0, held_ms=1),
    ],
)
def test_no_statement_reads_the_whole_table(table: Table, bound: BoundStatement) -> None:
    uses_indexes(table, bound)
