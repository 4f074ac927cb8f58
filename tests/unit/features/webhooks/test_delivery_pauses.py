"""Webhook endpoints that fail, are paused, and work again."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from src.features.webhooks.deliverer import deliverer_of
from src.features.webhooks.deliveries_store import Attempt, AttemptResult, DeliveryStore, DueDelivery
from src.features.webhooks.endpoints_store import WebhookEndpoint
from src.features.webhooks.rules import AttemptFailure, EndpointKey
from src.kernel.calls.protocol import HttpTimeout
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.work.worker import Worker
from tests.support.delivery_bench import TASK, URL, DeliveryBench, task_key
from tests.support.invocations import new_sweep
from tests.support.outbox import due_deliveries
from tests.support.worker_bench import HOST

DAY_MS = 86_400_000
OTHER_URL = "https://other.example.com/"


@pytest.fixture
def bench() -> Iterator[DeliveryBench]:
    made = DeliveryBench()
    yield made
    made.settle()
    made.close()


def _endpoint(bench: DeliveryBench, key: EndpointKey) -> WebhookEndpoint:
    found: WebhookEndpoint = bench.do(bench.endpoints.find(key))
    return found


def _write(bench: DeliveryBench, key: EndpointKey, numbers: range, *, state: int = 1, age_ms: int = 120_000) -> None:
    then, tenant = bench.database.now_ms() - age_ms, key.partition(":")[0]
    for number in numbers:
        bench.database.rows(
            "INSERT INTO webhook_deliveries "
            "(state, task_id, generation, endpoint_id, event, ended_at, begun_at, due_at) "
            "VALUES (?, ?, 0, ?, 'task.completed', ?, ?, ?)",
            *(state, task_key(number, tenant), key, then, then, then),
        )


def _outcomes(bench: DeliveryBench, key: EndpointKey) -> list[str | None]:
    return [row["outcome"] for row in bench.rows() if row["endpoint_id"] == key]


def _end_together(bench: DeliveryBench, numbers: range) -> list[TaskKey]:
    keys = [bench.submit(task_key(number)) for number in numbers]

    async def run() -> None:
        await asyncio.gather(*(bench.worker().run(key, HOST) for key in keys))

    bench.do(run())
    bench.settle()
    return keys


def test_attempts_that_fail_together_are_one_failure(bench: DeliveryBench):
    key = bench.add_endpoint()
    bench.courier.receiver, bench.courier.seconds = lambda _message: 503, 0.2
    _end_together(bench, range(20))
    assert len(bench.courier.messages) == 20
    endpoint = _endpoint(bench, key)
    assert (endpoint.failures, endpoint.paused_until > bench.database.now_ms()) == (1, False)
    assert (endpoint.failed_attempts, endpoint.last_failure) == (20, AttemptFailure.SERVER_ERROR)
    bench.courier.receiver, bench.courier.seconds = lambda _message: 200, 0.0
    bench.sweep(61)
    assert _outcomes(bench, key) == ["delivered"] * 20
    assert (_endpoint(bench, key).failed_attempts, _endpoint(bench, key).last_failure) == (0, None)


def _tried(bench: DeliveryBench, began_at: int, failure: AttemptFailure | None, asked_ms: int = 0) -> None:
    (row,) = bench.deliveries()
    taken = bench.do(bench.store.beside(DeliveryStore).redeliver(row))
    bench.do(
        bench.store.beside(DeliveryStore).record(
            [AttemptResult(taken, Attempt(began_at, None, 1, failure), None, 1_000, asked_ms)]
        )
    )


def test_what_began_before_a_pause_does_not_change_it(bench: DeliveryBench):
    key = bench.add_endpoint()
    bench.end(sends=False)
    began_at = bench.database.now_ms()
    bench.do(asyncio.sleep(1))
    _tried(bench, bench.database.now_ms(), AttemptFailure.RATE_LIMITED, 600_000)
    paused = _endpoint(bench, key)
    assert paused.paused_until == bench.database.now_ms() + 600_000
    _tried(bench, began_at, AttemptFailure.SERVER_ERROR)
    assert _endpoint(bench, key) == paused._replace(failed_attempts=2, last_failure=AttemptFailure.SERVER_ERROR)
    bench.do(asyncio.sleep(1))
    _tried(bench, began_at, None)
    passed = paused._replace(failures=0, failed_attempts=0, last_failure=None)
    assert _endpoint(bench, key) == passed
    _tried(bench, began_at, AttemptFailure.RATE_LIMITED, 900_000)  # the pause that the receiver asks for counts
    assert _endpoint(bench, key).paused_until == bench.database.now_ms() + 900_000
    bench.do(asyncio.sleep(1))
    _tried(bench, bench.database.now_ms(), None)
    assert _endpoint(bench, key) == passed._replace(paused_until=0)


def test_a_dead_endpoint_does_not_hold_up_other_tenants(bench: DeliveryBench):
    dead, other = bench.add_endpoint(tenant="a"), bench.add_endpoint(tenant="z", url=OTHER_URL)
    beside = bench.add_endpoint(2, tenant="a", url=OTHER_URL)
    _write(bench, dead, range(limits.DELIVERIES_WALK_MOST + 100))
    _write(bench, other, range(3))
    _write(bench, beside, range(700, 703))
    until = bench.database.now_ms() + DAY_MS
    bench.database.rows("UPDATE webhook_endpoints SET failures = 9, paused_until = ? WHERE id = ?", until, dead)
    bench.sweep(0)
    assert _outcomes(bench, other) == ["delivered"] * 3
    for _ in range(3):
        bench.sweep()
    assert _outcomes(bench, beside) == ["delivered"] * 3
    assert {row["state"] for row in bench.rows() if row["endpoint_id"] == dead} == {2}
    assert len(bench.courier.messages) == 6


def test_after_a_rest_one_message_asks(bench: DeliveryBench):
    key = bench.add_endpoint()
    bench.database.rows("UPDATE webhook_endpoints SET failures = ?", limits.BREAKER_FAILURES)
    for number in range(5):
        bench.end(task_key(number))
    assert bench.courier.messages == []
    bench.sweep(61)
    assert len(bench.courier.messages) == 1
    bench.sweep()
    assert _outcomes(bench, key) == ["delivered"] * 5


def test_an_endpoint_that_timed_out_twice_is_tried_by_one_delivery_at_a_time(bench: DeliveryBench):
    key = bench.add_endpoint()
    bench.courier.receiver, bench.courier.seconds = lambda _message: HttpTimeout("late"), limits.DELIVERY_SECONDS
    _end_together(bench, range(8))
    bench.courier.messages.clear()
    bench.sweep(61)
    assert len(bench.courier.messages) > 1
    assert _endpoint(bench, key).failures >= limits.BREAKER_FAILURES
    for number in range(10, 18):
        bench.end(task_key(number))
    for after_seconds in (3_600, 3_600, 3_600):
        bench.courier.messages.clear()
        bench.courier.most_at_once = 0
        bench.do(asyncio.sleep(after_seconds))
        due = bench.do(due_deliveries(bench.store))
        workers = [bench.worker(), bench.worker()]
        for worker in workers:
            bench.do(_begin(worker, due))
            bench.do(asyncio.sleep(0.5))
            due = bench.do(due_deliveries(bench.store)) or due
        bench.settle()
        assert (len(bench.courier.messages), bench.courier.most_at_once) == (1, 1)
    bench.courier.receiver, bench.courier.seconds = lambda _message: 200, 0.0
    bench.sweep(3_600)
    assert len(bench.courier.messages) == 2
    bench.sweep(61)
    assert _outcomes(bench, key) == ["delivered"] * 16


def test_a_try_whose_sender_dies_is_followed_by_another(bench: DeliveryBench):
    key = bench.add_endpoint()
    _write(bench, key, range(2))
    bench.database.rows("UPDATE webhook_endpoints SET failures = ?", limits.BREAKER_FAILURES)
    bench.sweep(0)  # files the unsent deliveries as waiting
    due = bench.do(due_deliveries(bench.store))
    assert len(bench.do(bench.store.beside(DeliveryStore).take(due))) == 1
    bench.sweep(30)
    assert bench.courier.messages == []
    bench.sweep(31)
    assert len(bench.courier.messages) == 1
    bench.sweep(61)
    assert _outcomes(bench, key) == ["delivered"] * 2


def test_endpoints_that_hang_leave_a_sweep_to_others(bench: DeliveryBench):
    for number in range(10):
        _write(bench, bench.add_endpoint(number, tenant="a"), range(10 * number, 10 * number + 10))
    sound = bench.add_endpoint(tenant="z", url=OTHER_URL)
    _write(bench, sound, range(60))
    bench.database.rows("UPDATE webhook_endpoints SET failures = 1 WHERE url = ?", URL)
    bench.courier.seconds = lambda message: limits.DELIVERY_SECONDS if message.url == URL else 0.2
    bench.courier.receiver = lambda message: HttpTimeout("late") if message.url == URL else 200
    bench.sweep(0)
    assert len([message for message in bench.courier.messages if message.url == URL]) == 2
    assert len([row for row in _outcomes(bench, sound) if row == "delivered"]) >= 40


def test_a_tenant_does_not_take_a_sweep_from_others(bench: DeliveryBench):
    for number in range(10):
        _write(bench, bench.add_endpoint(number, tenant="a"), range(10 * number, 10 * number + 10))
    _write(bench, bench.add_endpoint(tenant="z", url=OTHER_URL), range(3), age_ms=61_000)
    due = bench.do(due_deliveries(bench.store, "paid"))
    tenants = [one.key.endpoint_key[0] for one in due]
    assert tenants[:6] == ["a", "z"] * 3
    assert len({one.key.endpoint_key for one in due[:13]}) == 11


@pytest.mark.parametrize("stands_in", [False, True])
def test_a_sweep_that_runs_tasks_sends_its_deliveries_last(bench: DeliveryBench, *, stands_in: bool):
    key = bench.add_endpoint()
    _write(bench, key, range(20, 23))
    for number in range(3):
        bench.submit(task_key(number))
    if stands_in:
        bench.database.rows("UPDATE tasks SET dispatches = ?", limits.SENDS_IN_VAIN)
    bench.courier.seconds, seen = limits.DELIVERY_SECONDS, []
    bench.model.act = lambda _call, _number: seen.append(len(bench.courier.messages))
    bench.do(asyncio.sleep(2 * bench.settings.lease_seconds))
    bench.do(new_sweep(bench.worker(), [], stands_in=stands_in).run())
    bench.settle()
    assert seen == [0, 0, 0]
    assert len(bench.courier.messages) == 3
    for _ in range(3):
        bench.sweep(61)
    assert _outcomes(bench, key) == ["delivered"] * 6


def test_an_endpoint_that_is_back_has_all_of_a_sweep(bench: DeliveryBench):
    """Deliveries that are older than a day do not reduce how many other deliveries a sweep sends."""
    key, beside = bench.add_endpoint(), bench.add_endpoint(2, url=OTHER_URL)
    _write(bench, key, range(150), state=2, age_ms=2 * DAY_MS)
    bench.sweep(0)
    assert _outcomes(bench, key) == ["exhausted"] * 150
    assert bench.courier.messages == []
    _write(bench, key, range(150, 230), state=2)
    _write(bench, beside, range(2), state=2)
    bench.sweep(0)
    assert {row["outcome"] for row in bench.rows() if row["endpoint_id"] == beside} == {"delivered"}
    assert len([message for message in bench.courier.messages if message.url == URL]) == 80


def test_a_step_back_of_the_databases_clock_loses_no_end(bench: DeliveryBench):
    bench.add_endpoint()
    bench.database.rows("UPDATE webhook_endpoints SET created_at = created_at + 30000")
    bench.end()
    assert len(bench.courier.messages) == 1


def test_a_redelivery_begins_its_waits_anew(bench: DeliveryBench):
    """After five failed attempts of a delivery the next wait is an hour."""
    bench.add_endpoint()
    bench.courier.receiver = lambda _message: 500
    bench.end()
    for _ in range(30):
        bench.sweep()
    (before,) = bench.deliveries()
    assert before.tries == 5
    assert before.due_at > bench.database.now_ms() + 60_000
    taken = bench.do(bench.store.beside(DeliveryStore).redeliver(before))

    async def send() -> None:
        deliverer_of(bench.worker()).begin_one(taken, asyncio.get_running_loop().time())

    bench.do(send())
    bench.settle()
    (after,) = bench.deliveries()
    assert (after.tries, after.due_at) == (6, bench.database.now_ms() + 5_000)


def test_a_record_has_its_share_of_the_allowance(bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "RUN_LEAST", 1)
    bench.settings = replace(bench.settings, plan="free")
    key = bench.add_endpoint()
    _write(bench, key, range(5))
    worker = bench.worker()

    def spend(_message: object) -> int:
        while worker.can_afford_run:
            worker.meter.spend_database_call(1)
        return 503

    bench.courier.receiver = spend
    bench.do(new_sweep(worker, []).run())
    bench.settle()
    assert [row["tries"] for row in bench.rows()] == [1] * 5
    assert worker.meter.statements <= bench.settings.statements
    assert worker.meter.subrequests <= bench.settings.subrequests


@pytest.mark.parametrize(("left", "sent"), [(1, 0), (2, 1), (3, 2), (6, 5), (9, 5)])
def test_whoever_ends_a_task_sends_as_many_as_it_can_record(bench: DeliveryBench, left: int, sent: int):
    for number in range(5):
        bench.add_endpoint(number)
    bench.submit()
    worker = bench.worker()
    bench.do(worker.store.cancel(TASK, DAY_MS))
    worker.meter.spend(bench.settings.subrequests - worker.meter.subrequests - left)
    bench.do(_begin(worker))
    bench.settle()
    assert sum(row["tries"] for row in bench.rows()) == len(bench.courier.messages) == sent


@pytest.mark.parametrize(("left", "sent"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (9, 3)])
def test_what_is_to_be_taken_on_takes_nothing_from_what_is_held(bench: DeliveryBench, left: int, sent: int):
    """A sweep first sends deliveries of tasks that it ended, which it need not claim."""
    _write(bench, bench.add_endpoint(), range(2))
    due = bench.do(due_deliveries(bench.store))
    bench.submit()
    worker = bench.worker()
    bench.do(worker.store.cancel(TASK, DAY_MS))
    worker.meter.spend(bench.settings.subrequests - worker.meter.subrequests - left)
    bench.do(_begin(worker, due))
    bench.settle()
    assert sum(row["tries"] for row in bench.rows()) == len(bench.courier.messages) == sent
    assert sent == 0 or bench.deliveries()[0].tries == 1


def _send_five(bench: DeliveryBench, spend: Callable[[Meter], None]) -> int:
    """Let a sweep send five due deliveries after other work has spent of its allowance. Returns how many it sent."""
    _write(bench, bench.add_endpoint(), range(5))
    due = bench.do(due_deliveries(bench.store))
    worker = bench.worker()
    spend(worker.meter)
    bench.do(_begin(worker, due))
    bench.settle()
    assert sum(row["tries"] for row in bench.rows()) == len(bench.courier.messages)
    return len(bench.courier.messages)


@pytest.mark.parametrize(("left", "sent"), [(2, 0), (3, 1), (4, 2), (7, 5), (9, 5)])
def test_a_sweep_sends_as_many_as_it_can_record(bench: DeliveryBench, left: int, sent: int):
    assert _send_five(bench, lambda meter: meter.spend(bench.settings.subrequests - left)) == sent


@pytest.mark.parametrize(("left", "sent"), [(5, 0), (6, 1)])
def test_a_sweep_takes_no_delivery_whose_record_it_cannot_write(bench: DeliveryBench, left: int, sent: int):
    """The claim of a delivery takes up to two statements, and the record of its attempt up to four."""
    assert _send_five(bench, lambda meter: meter.spend_database_call(bench.settings.statements - left)) == sent


async def _begin(worker: Worker, due: Sequence[DueDelivery] = ()) -> None:
    deliverer_of(worker).begin(due)


@pytest.mark.parametrize("disabled", [False, True])
def test_a_large_backlog_ends_a_part_at_a_time(
    bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch, *, disabled: bool
):
    monkeypatch.setattr(limits, "DELIVERIES_WALK_MOST", 3)
    key, same_tenant = bench.add_endpoint(), bench.add_endpoint(2, url=OTHER_URL)
    _write(bench, key, range(10))
    _write(bench, key, range(10, 20), state=2)
    _write(bench, same_tenant, range(1))
    if disabled:
        bench.courier.receiver = lambda message: 410 if message.url == URL else 200
        bench.end()
    else:
        assert bench.do(bench.endpoints.delete(key))
    ended = [outcome for outcome in _outcomes(bench, key) if outcome]
    assert ended == ["gone"] * (7 if disabled else 6)
    sent = len(bench.courier.messages)
    for _ in range(9):
        bench.sweep(61)
    assert _outcomes(bench, key) == ["gone"] * (21 if disabled else 20)
    assert [message.url for message in bench.courier.messages[sent:]] in ([OTHER_URL], [])
    assert TASK in {row["task_id"] for row in bench.rows()} or not disabled


@pytest.mark.parametrize("disabled", [False, True])
def test_what_is_left_of_an_endpoint_that_has_gone_is_not_taken_on(
    bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch, *, disabled: bool
):
    key, other = bench.add_endpoint(), bench.add_endpoint(2, url=OTHER_URL)
    _write(bench, key, range(1))
    _write(bench, other, range(1))
    due = bench.do(due_deliveries(bench.store))
    monkeypatch.setattr(limits, "DELIVERIES_WALK_MOST", 0)
    if disabled:
        bench.courier.receiver = lambda message: 410 if message.url == URL else 200
        bench.end()
    else:
        assert bench.do(bench.endpoints.delete(key))
    assert [taken.key.endpoint_key for taken in bench.do(bench.store.beside(DeliveryStore).take(due))] == [other]
