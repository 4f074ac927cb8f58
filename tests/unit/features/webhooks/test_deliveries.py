"""Webhook deliveries: one for each end of a task and each subscribed endpoint, sent until the receiver accepts it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from src.features.bulk.store import BulkStore
from src.features.webhooks import rules as webhooks
from src.features.webhooks.deliverer import deliverer_of
from src.features.webhooks.deliveries_store import Attempt, AttemptResult, DeliveryStore
from src.features.webhooks.rules import AttemptFailure, DeliveryOutcome, Event
from src.kernel.calls.protocol import HttpConnectionLost, HttpTimeout, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.task import Failure, Route
from src.kernel.run.waits import OVERDUE
from src.kernel.store.claims import Claim
from src.kernel.work.worker import Worker
from tests.conformance.cases.steps import progress
from tests.support.delivery_bench import KEY, TASK, URL, DeliveryBench, task_key
from tests.support.invocations import new_sweep
from tests.support.outbox import due_deliveries
from tests.support.store_bench import RETENTION_MS
from tests.support.worker_bench import HOST

DAY = 86_400


@pytest.fixture
def bench() -> Iterator[DeliveryBench]:
    made = DeliveryBench()
    made.add_endpoint()
    yield made
    made.settle()
    made.close()


def _outcomes(bench: DeliveryBench) -> list[DeliveryOutcome | None]:
    return [one.outcome for one in bench.deliveries()]


def test_who_ends_a_task_sends_its_delivery_at_once(bench: DeliveryBench):
    bench.courier.seconds = 2.0
    bench.end()
    (message,) = bench.courier.messages
    assert message.url == URL
    assert (message.event["type"], message.event["data"]) == ("task.completed", {"id": TASK.partition(":")[2]})
    assert "x" * 3 not in message.body
    (one,) = bench.deliveries()
    assert (one.key.id, one.outcome, one.tries) == (message.id, DeliveryOutcome.DELIVERED, 1)
    assert [attempt.milliseconds for attempt in one.attempts] == [2_000]
    for _ in range(3):
        bench.sweep()
    assert len(bench.courier.messages) == 1


def test_messages_are_signed_for_the_time_of_the_database(bench: DeliveryBench):
    key = bench.add_endpoint(2)
    first = bench.do(bench.endpoints.find(key))
    bench.do(bench.endpoints.rotate(first, keep_old=True))
    bench.end()
    message = next(one for one in bench.courier.messages if one.id.endswith("2"))
    signatures = message.headers["webhook-signature"].split()
    timestamp = int(message.headers["webhook-timestamp"])
    assert timestamp == bench.database.now_ms() // 1000
    made = [
        webhooks.signature(webhooks.secret(KEY, key, generation), message.id, timestamp, message.body)
        for generation in (1, 0)
    ]
    assert signatures == made
    bench.do(asyncio.sleep(DAY + 1))
    bench.end(task_key(2))
    message = [one for one in bench.courier.messages if one.id.endswith("2")][-1]
    assert len(message.headers["webhook-signature"].split()) == 1
    Webhook(webhooks.secret(KEY, key, 1))


def test_each_attempt_is_signed_for_its_own_time(bench: DeliveryBench):
    """A later attempt's timestamp is its own time, because receivers refuse a message that is five minutes old."""
    bench.courier.receiver = lambda _message: 503
    bench.end()
    bench.sweep(3_600)
    first, second = (int(message.headers["webhook-timestamp"]) for message in bench.courier.messages)
    assert second - first == 3_600
    assert [attempt.at // 1000 for attempt in bench.deliveries()[0].attempts] == [first, second]
    assert bench.rows()[0]["ended_at"] // 1000 == first


def _fail(bench: DeliveryBench) -> None:
    bench.model.act = lambda _call, _number: ModelRefused("401")
    bench.finish()


def _cut(bench: DeliveryBench) -> None:
    bench.model.act = lambda _call, _number: ModelReply("x", 1, 1, "length")
    bench.finish()


def _cancel(bench: DeliveryBench) -> None:
    bench.do(bench.store.cancel(TASK, RETENTION_MS))


def _cancel_all(bench: DeliveryBench) -> None:
    bench.do(bench.store.beside(BulkStore).cancel_all({TASK: 0}, None, RETENTION_MS))


def _expire(bench: DeliveryBench) -> None:
    bench.do(asyncio.sleep(DAY))
    bench.do(bench.store.expire([TASK], OVERDUE, RETENTION_MS))


def _settle(bench: DeliveryBench) -> None:
    claim = _claim(bench)
    bench.do(asyncio.sleep(DAY))
    bench.do(bench.store.settle(claim, progress(claim), OVERDUE, RETENTION_MS))


def _dead_letter(bench: DeliveryBench) -> None:
    assert bench.do(bench.store.dead_letter(TASK, Failure(TaskCode.DEAD_LETTERED, "", True), RETENTION_MS))


def _give_up(bench: DeliveryBench) -> None:
    _claim(bench)
    bench.do(asyncio.sleep(DAY / 2))
    crashed = Failure(TaskCode.WORKER_CRASHED, "", True)
    assert bench.do(bench.store.give_up([TASK], 0, crashed, RETENTION_MS))


def _claim(bench: DeliveryBench) -> Claim:
    return bench.do(bench.store.claim(TASK, holder="h", host="", route=Route.QUEUE, lease_ms=1000))


ENDS = {
    "finish": (lambda bench: bench.finish(), "completed", "completed"),
    "cut": (_cut, "completed", "incomplete"),
    "fail": (_fail, "failed", "failed"),
    "cancel": (_cancel, "cancelled", "cancelled"),
    "cancel_all": (_cancel_all, "cancelled", "cancelled"),
    "expire": (_expire, "failed", "failed"),
    "settle": (_settle, "failed", "failed"),
    "dead_letter": (_dead_letter, "failed", "failed"),
    "give_up": (_give_up, "failed", "failed"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("response", [False, True], ids=["native", "v1"])
def test_every_end_writes_its_delivery(bench: DeliveryBench, name: str, *, response: bool):
    end, native, compatible = ENDS[name]
    bench.submit(response=response, deadline_ms=DAY * 1000 - 1000)
    assert bench.rows() == []
    end(bench)
    (row,) = bench.rows()
    event = f"response.{compatible}" if response else f"task.{native}"
    assert (row["event"], row["generation"]) == (event, 0)
    assert row["ended_at"] == bench.database.rows("SELECT finished_at FROM tasks")[0]["finished_at"]
    assert webhooks.told_id(event, TASK) == ("resp_" if response else "") + TASK.partition(":")[2]


def test_the_end_of_a_task_of_an_unknown_kind_is_left_to_newer_code(bench: DeliveryBench):
    """An event under another name would take the place of the right one, which newer code writes."""
    bench.submit()
    bench.database.rows("PRAGMA ignore_check_constraints = ON")
    bench.database.rows("UPDATE tasks SET kind = 'newer'")
    _cancel(bench)
    assert bench.database.rows("SELECT status FROM tasks") == [{"status": "cancelled"}]
    assert bench.rows() == []


def test_a_tenant_without_endpoints_pays_no_row_and_an_endpoint_two():
    spent = []
    for endpoints in (0, 1, 3):
        bench = DeliveryBench()
        for number in range(endpoints):
            bench.add_endpoint(number)
        bench.add_endpoint(1, tenant="other")  # an endpoint of another tenant adds no cost
        bench.submit(chunks=3)
        worker = bench.worker()
        bench.do(worker.run(TASK, HOST))
        bench.settle()
        spent.append((worker.meter.rows_written, worker.meter.database_calls))
        assert len(bench.courier.messages) == endpoints
        bench.close()
    (bare, bare_calls), (one, one_calls), (three, three_calls) = spent
    assert one == bare + 2
    assert three == bare + 6
    assert (one_calls, three_calls) == (bare_calls + 1, bare_calls + 1)


def test_only_what_an_endpoint_subscribes_to_is_written():
    bench = DeliveryBench()
    bench.end(task_key(1))
    bench.do(asyncio.sleep(61))
    bench.add_endpoint(1, Event.TASK_FAILED, Event.RESPONSE_COMPLETED)
    bench.add_endpoint(2, Event.TASK_COMPLETED, tenant="local-2")
    wanted = bench.add_endpoint(3, Event.TASK_COMPLETED)
    bench.end(task_key(2))
    bench.do(bench.store.beside(BulkStore).cancel_all({task_key(1): 0}, None, RETENTION_MS))  # changes nothing
    assert [row["endpoint_id"] for row in bench.rows()] == [wanted]
    bench.close()


def test_a_task_that_is_put_back_and_ends_again_is_told_again(bench: DeliveryBench):
    bench.submit()
    _fail(bench)
    bench.do(bench.store.retry(TASK, 0))
    bench.model.act = lambda _call, _number: None
    bench.finish()
    first, second = bench.courier.messages
    assert (first.event["type"], second.event["type"]) == ("task.failed", "task.completed")
    assert first.id != second.id


def test_what_its_invocation_did_not_send_the_sweep_sends(bench: DeliveryBench):
    bench.end(sends=False)
    bench.sweep(30)
    assert bench.courier.messages == []
    bench.sweep(31)
    assert len(bench.courier.messages) == 1
    assert _outcomes(bench) == [DeliveryOutcome.DELIVERED]


def test_a_record_under_an_older_fence_changes_nothing(bench: DeliveryBench):
    bench.end(sends=False)
    stale = bench.store.beside(DeliveryStore)
    bench.do(asyncio.sleep(61))
    due = bench.do(due_deliveries(bench.store))
    (first,) = bench.do(stale.take(due))
    bench.do(asyncio.sleep(61))
    bench.sweep(0)
    assert _outcomes(bench) == [DeliveryOutcome.DELIVERED]
    (before,) = bench.rows()
    late = AttemptResult(first, Attempt(1, 500, 1, AttemptFailure.SERVER_ERROR), None, 1000)
    bench.do(stale.record([late]))
    assert bench.rows() == [before]


FAILING: dict[AttemptFailure, Any] = {
    AttemptFailure.TIMEOUT: HttpTimeout("late"),
    AttemptFailure.CONNECTION: HttpConnectionLost("lost"),
    AttemptFailure.REDIRECT: (307, {"location": "https://10.0.0.1/"}),
    AttemptFailure.RATE_LIMITED: 429,
    AttemptFailure.CLIENT_ERROR: 404,
    AttemptFailure.SERVER_ERROR: 503,
}


@pytest.mark.parametrize("failure", FAILING)
def test_a_receiver_that_fails_is_asked_again_under_the_same_id(bench: DeliveryBench, failure: AttemptFailure):
    bench.courier.receiver = lambda _message: FAILING[failure]
    bench.end()
    bench.sweep()
    bench.courier.receiver = lambda _message: 202
    for _ in range(5):
        bench.sweep()
    assert len({message.id for message in bench.courier.messages}) == 1
    assert {message.url for message in bench.courier.messages} == {URL}
    (one,) = bench.deliveries()
    assert [attempt.failure for attempt in one.attempts] == [failure, failure, None]
    assert [attempt.status for attempt in one.attempts][-1] == 202
    assert one.outcome is DeliveryOutcome.DELIVERED


def test_retry_after_is_obeyed(bench: DeliveryBench):
    bench.courier.receiver = lambda _message: (429, {"retry-after": "600"})
    bench.end()
    bench.courier.receiver = lambda _message: 200
    bench.end(task_key(2))
    for _ in range(9):
        bench.sweep()
    assert len(bench.courier.messages) == 1
    bench.sweep()
    bench.sweep()
    assert sorted(message.id for message in bench.courier.messages[1:]) == sorted(
        {
            row["task_id"]: webhooks.DeliveryKey(row["task_id"], 0, row["endpoint_id"], row["ended_at"]).id
            for row in bench.rows()
        }.values()
    )


def test_after_a_second_rotation_the_secret_before_signs_and_none_of_before_that(bench: DeliveryBench):
    key = bench.add_endpoint()
    for _ in range(3):
        endpoint = bench.do(bench.endpoints.find(key))
        assert bench.do(bench.endpoints.rotate(endpoint, keep_old=True)) is not None
    bench.end()
    (message,) = bench.courier.messages
    timestamp = int(message.headers["webhook-timestamp"])
    secrets = [webhooks.secret(KEY, key, generation) for generation in range(4)]
    made = [webhooks.signature(one, message.id, timestamp, message.body) for one in secrets]
    assert message.headers["webhook-signature"].split() == [made[3], made[2]]


@pytest.mark.parametrize("off", [-0.001, 0.0, 0.001])
def test_an_attempt_does_not_outlast_its_hold(bench: DeliveryBench, off: float):
    """If an attempt might last longer than a sender's minute, the sender leaves the delivery to the sweep."""
    bench.add_endpoint()
    bench.end(sends=False)
    (row,) = bench.deliveries()
    bench.do(asyncio.sleep(100))
    taken = bench.do(bench.store.beside(DeliveryStore).redeliver(row))
    waits = limits.DELIVERY_HELD_SECONDS - limits.DELIVERY_SECONDS + off

    async def send_late() -> None:
        deliverer, asked_at = deliverer_of(bench.worker()), bench.loop.time()
        await asyncio.sleep(waits)
        deliverer.begin_one(taken, asked_at)

    bench.do(send_late())
    bench.settle()
    assert len(bench.courier.messages) == (1 if off <= 0 else 0)
    for _ in range(3):
        bench.sweep()
    assert len(bench.courier.messages) == 1


def test_a_receiver_that_is_gone_is_disabled(bench: DeliveryBench):
    bench.courier.receiver = lambda _message: 500
    bench.end()
    bench.courier.receiver = lambda _message: 410
    bench.end(task_key(2))
    bench.end(task_key(3))
    for _ in range(3):
        bench.sweep()
    assert len(bench.courier.messages) == 2
    assert sorted(row["outcome"] for row in bench.rows()) == ["gone", "gone"]


def test_nothing_is_sent_after_a_410(bench: DeliveryBench):
    """A 410 ends what its sender still holds for the endpoint, what waits, and what later tasks or clients ask for."""
    other = bench.add_endpoint(2, url="https://other.example.com/")
    bench.courier.receiver = lambda message: 410 if message.url == URL else 200
    keys = [bench.submit(task_key(number)) for number in range(12)]
    waiting = bench.submit(task_key(20))
    bench.finish(waiting, sends=False)
    worker = bench.worker()
    bench.do(worker.store.beside(BulkStore).cancel_all(dict.fromkeys(keys, 0), None, RETENTION_MS))
    bench.do(_begin(worker))
    bench.settle()
    asked = sum(message.url == URL for message in bench.courier.messages)
    assert 1 <= asked <= limits.DELIVERIES_AT_ONCE
    bench.end()
    for _ in range(5):
        bench.sweep(61)
    gone = [row for row in bench.rows() if row["endpoint_id"] != other]
    assert {(row["state"], row["outcome"]) for row in gone} == {(0, "gone")}
    assert len(gone) == len(keys) + 1
    ended = next(one for one in bench.deliveries(keys[0]) if one.key.endpoint_key != other)
    assert bench.do(bench.store.beside(DeliveryStore).redeliver(ended)) is None
    assert sum(message.url == URL for message in bench.courier.messages) == asked
    assert {row["outcome"] for row in bench.rows() if row["endpoint_id"] == other} == {"delivered"}


async def _begin(worker: Worker) -> None:
    worker.begin_after_ends()


def test_a_receiver_that_never_answers_is_given_up_after_a_day(bench: DeliveryBench):
    bench.courier.receiver = lambda _message: 500
    bench.end()
    for _ in range(25 * 60):
        bench.sweep()
    times = [one.at for one in bench.deliveries()[0].attempts]
    assert 8 <= len(times) <= 14
    assert DAY * 1000 <= times[-1] - times[0] <= (DAY + 3600) * 1000
    assert _outcomes(bench) == [DeliveryOutcome.EXHAUSTED]
    assert bench.deliveries()[0].tries == len(times) == len(bench.courier.messages)


def test_a_dead_receiver_does_not_eat_the_sweeps_allowance(bench: DeliveryBench):
    """After five failures in a row an endpoint is paused, longer each time."""
    healthy = bench.add_endpoint(2, url="https://other.example.com/")
    bench.courier.receiver = lambda message: 500 if message.url == URL else 200
    for number in range(30):
        bench.end(task_key(number))
    heard = [one for one in bench.courier.messages if one.url != URL]
    assert len(heard) == 30
    for _ in range(6 * 60):
        bench.sweep()
    asked = [one for one in bench.courier.messages if one.url == URL]
    assert len(asked) < 30
    assert bench.do(bench.endpoints.find(healthy)).failures == 0
    bench.courier.receiver = lambda _message: 200
    for _ in range(60):
        bench.sweep()
    assert {row["outcome"] for row in bench.rows()} == {"delivered"}


def test_a_url_that_is_no_longer_allowed_is_not_asked(bench: DeliveryBench):
    bench.database.rows("UPDATE webhook_endpoints SET url = 'https://169.254.169.254/'")
    bench.end()
    assert bench.courier.messages == []
    assert [attempt.failure for attempt in bench.deliveries()[0].attempts] == [AttemptFailure.URL_REFUSED]


def test_a_task_that_is_erased_before_its_delivery_has_none(bench: DeliveryBench):
    bench.end(sends=False)
    bench.do(bench.store.erase(TASK))
    bench.sweep(61)
    assert (bench.rows(), bench.courier.messages) == ([], [])


def test_without_a_key_nothing_is_sent_and_nothing_is_lost():
    bench = DeliveryBench(webhook_key=None)
    bench.add_endpoint()
    bench.end()
    bench.sweep(61)
    assert bench.courier.messages == []
    bench.settings = replace(bench.settings, webhook_key=KEY)
    bench.sweep()
    assert len(bench.courier.messages) == 1
    bench.close()


def test_the_free_plans_allowance_is_kept(bench: DeliveryBench):
    bench.settings = replace(bench.settings, plan="free")
    for number in range(2, 10):
        bench.add_endpoint(number)
    for number in range(10):
        bench.submit(task_key(number))
    bench.do(bench.store.beside(BulkStore).cancel_all({task_key(number): 0 for number in range(10)}, None, DAY * 1000))
    workers = []
    for _ in range(25):
        bench.do(asyncio.sleep(60))
        worker = bench.worker()
        workers.append(worker)
        bench.do(new_sweep(worker, []).run())
        bench.settle()
    assert {row["outcome"] for row in bench.rows()} == {"delivered"}
    assert len(bench.courier.messages) == 90
    assert max(worker.meter.subrequests for worker in workers) <= 45
    assert max(worker.meter.statements for worker in workers) <= 45
