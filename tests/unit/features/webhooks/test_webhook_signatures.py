"""Webhook secrets, signatures, ids, and the meaning of an endpoint's answer."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openai import OpenAI
from standardwebhooks.webhooks import Webhook

from src.features.webhooks import rules as webhooks
from src.features.webhooks.rules import AttemptFailure, DeliveryKey, DeliveryOutcome, EndpointKey, ReceiverAnswer
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey

KEY = "k" * 32
ENDPOINT = EndpointKey("local:we_" + "0a" * 12)
TASK = TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")


def test_the_published_vector_of_standard_webhooks():
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    signed = webhooks.signature(secret, message, 1_614_265_330, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def _sent(*secrets: str) -> tuple[str, dict[str, str]]:
    now = int(datetime.now(tz=UTC).timestamp())
    key = DeliveryKey(TASK, 0, ENDPOINT, now * 1000)
    body = webhooks.body_of(key.id, "response.completed", now * 1000, webhooks.told_id("response.completed", TASK))
    return body, webhooks.headers(secrets, key.id, now, body)


def test_both_verifiers_take_what_is_signed_during_a_rotation_too():
    old, new, other = (webhooks.secret(KEY, ENDPOINT, generation) for generation in (0, 1, 2))
    body, headers = _sent(new, old)
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
        with OpenAI(api_key="none") as client:
            event: Any = client.webhooks.unwrap(body, headers, secret=secret)
        assert (event.type, event.data.id) == ("response.completed", f"resp_{TASK.partition(':')[2]}")
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(other).verify(body, headers)


def test_secrets_differ_by_key_endpoint_and_generation_and_are_derived_again():
    other = EndpointKey("other:we_" + "0a" * 12)
    made = {
        webhooks.secret(key, endpoint, generation)
        for key in (KEY, "l" * 32)
        for endpoint in (ENDPOINT, other)
        for generation in (0, 1)
    }
    assert len(made) == 8
    assert webhooks.secret(KEY, ENDPOINT, 1) in made
    assert all(one.startswith("whsec_") and len(one) == 50 for one in made)


def test_a_delivery_is_named_by_its_id():
    key = DeliveryKey(TASK, 12, ENDPOINT, 1_790_000_000_123)
    assert webhooks.read_delivery_id("local", key.id) == key
    assert "." not in key.id
    assert webhooks.read_delivery_id("other", key.id) != key
    others = (DeliveryKey(TASK, 13, ENDPOINT, key.ended_at), DeliveryKey(TASK, 12, ENDPOINT, key.ended_at + 1))
    assert len({key.id, *(other.id for other in others)}) == 3
    for text in ("", "evt_", key.id + "0", key.id.upper(), key.id.replace("evt_", "evt_x"), "evt_test_" + "0" * 32):
        assert webhooks.read_delivery_id("local", text) is None


def test_a_body_names_the_task_and_no_more():
    body = json.loads(
        webhooks.body_of("evt_1", "task.failed", 1_790_000_000_123, webhooks.told_id("task.failed", TASK))
    )
    assert body == {
        "object": "event",
        "id": "evt_1",
        "type": "task.failed",
        "created_at": 1_790_000_000,
        "data": {"id": TASK.partition(":")[2]},
    }


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (200, None),
        (204, None),
        (299, None),
        (301, AttemptFailure.REDIRECT),
        (304, AttemptFailure.REDIRECT),
        (308, AttemptFailure.REDIRECT),
        (400, AttemptFailure.CLIENT_ERROR),
        (404, AttemptFailure.CLIENT_ERROR),
        (410, AttemptFailure.GONE),
        (429, AttemptFailure.RATE_LIMITED),
        (500, AttemptFailure.SERVER_ERROR),
        (599, AttemptFailure.SERVER_ERROR),
    ],
)
def test_what_a_status_means(status: int, failure: AttemptFailure | None):
    assert webhooks.answer_of(status).failure is failure


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_attempts_are_spread_over_a_day(chance: float):
    age, waits = 0, list[int]()
    day = round(limits.DELIVERY_SECONDS_MOST * 1000)
    while webhooks.outcome_of(webhooks.answer_of(500), age) is None:
        waits.append(webhooks.delay_ms(len(waits) + 1, None, age, chance))
        age += waits[-1]
    assert 9 <= len(waits) <= 13
    assert day <= age <= day + 1000
    assert waits[0] <= 5_000
    assert waits[:7] == sorted(waits[:7])


def test_a_receiver_is_left_alone_for_as_long_as_it_asks():
    assert webhooks.delay_ms(1, 120.0, 0, 0.0) == 120_000
    assert webhooks.delay_ms(1, 0.0, 0, 1.0) == 5_000
    assert webhooks.delay_ms(1, 90_000.0, 0, 1.0) == 3_600_000


def test_when_a_delivery_ends():
    day = round(limits.DELIVERY_SECONDS_MOST * 1000)
    failed = webhooks.answer_of(500)
    assert webhooks.outcome_of(webhooks.answer_of(200), day + 1) is DeliveryOutcome.DELIVERED
    assert webhooks.outcome_of(webhooks.answer_of(410), 0) is DeliveryOutcome.GONE
    assert webhooks.outcome_of(failed, day - 1) is None
    assert webhooks.outcome_of(failed, day) is DeliveryOutcome.EXHAUSTED
    assert webhooks.outcome_of(ReceiverAnswer(None, AttemptFailure.TIMEOUT), 0) is None
