"""Webhooks: which addresses are taken, and how messages are signed and repeated."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from openai import OpenAI
from standardwebhooks.webhooks import Webhook

from src.features.webhooks import rules as webhooks
from src.features.webhooks.rules import (
    AttemptFailure,
    DeliveryKey,
    DeliveryOutcome,
    EndpointKey,
    ReceiverAnswer,
    refusal,
)
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
        *((status, None) for status in (200, 204, 299)),
        *((status, AttemptFailure.REDIRECT) for status in (301, 304, 308)),
        *((status, AttemptFailure.CLIENT_ERROR) for status in (400, 404)),
        *((410, AttemptFailure.GONE), (429, AttemptFailure.RATE_LIMITED)),
        *((status, AttemptFailure.SERVER_ERROR) for status in (500, 599)),
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


GOOD = """
    https://example.com https://example.com/ https://example.com:443/hooks HTTPS://Hooks.Example.COM/A
    https://a.b.c.example.co.uk/hook?a=1&b=%20 https://xn--bcher-kva.ch/x https://example.xn--p1ai/x
    https://1password.com/x https://hooks-1.example.com/~a/b;c=1,2/@x:y https://127.example.com/ https://deadbeef.com/
    https://example.com?x=1 https://localhost.example.com/ https://example.com/%2e%2e//a?u=https://10.0.0.1/
"""

HOSTILE = """
    # Schemes
    http://example.com/ ftp://example.com/ file:///etc/passwd gopher://example.com/ javascript:alert(1)
    data:text/plain,x ws://example.com/ blob:https://example.com/x //example.com/ example.com/ https:example.com
    https:/example.com https:///example.com https:\\\\example.com https://
    # Addresses in every notation
    https://127.0.0.1/ https://127.1/ https://127.0.1/ https://2130706433/ https://0x7f000001/ https://0x7f.0.0.1/
    https://0x7F.1/ https://0177.0.0.1/ https://017700000001/ https://0/ https://0.0.0.0/ https://10.0.0.1/
    https://172.16.0.1/ https://192.168.1.1/ https://169.254.169.254/latest/meta-data/ https://100.64.0.1/
    https://8.8.8.8/ https://255.255.255.255/ https://127.0.0.1./ https://1.2.3.0x4/ https://example.0x1/
    https://example.1/ https://example.com.1/ https://[::1]/ https://[::]/ https://[::ffff:127.0.0.1]/
    https://[0:0:0:0:0:ffff:7f00:1]/ https://[fd00::1]/ https://[fe80::1%25eth0]/ https://[2606:4700::1111]/
    https://[64:ff9b::7f00:1]/ https://[v1.x]/ https://::1/
    # Hostile URLs with user info, or with syntax that parsers read differently.
    https://user@example.com/ https://user:secret@example.com/ https://@example.com/ https://example.com@127.0.0.1/
    https://example.com:443@127.0.0.1/ https://example.com%40127.0.0.1/ https://example.com\\@127.0.0.1/
    https://127.0.0.1\\.example.com/ https://example.com#@127.0.0.1/ https://example.com/#x https://example.com/\x00
    https://exam%70le.com/ https://%31%32%37.0.0.1/ https://example.com/<x> https://example.com/"
    https://example.com\\evil
    # URLs with a host name of a private network, or of no network.
    https://localhost/ https://LOCALHOST/ https://localhost./ https://a.localhost/ https://localhost.localdomain/
    https://router.local/ https://metadata.google.internal/ https://x.INTERNAL/ https://nas.lan/ https://x.home.arpa/
    https://1.0.0.127.in-addr.arpa/ https://intranet/ https://db/ https://x.test/ https://x.onion/ https://x.corp/
    # Names whose addresses are those of this machine or of a private network
    https://127.0.0.1.nip.io/ https://10-0-0-1.sslip.io/ https://localtest.me/ https://a.lvh.me/
    # Dots, labels and unicode
    https://example.com./ https://example..com/ https://.example.com/ https://-example.com/ https://example-.com/
    https://exa_mple.com/ https://example.c/
    https://ex\u0430mple.com/ https://example\u3002com/ https://\uff11\uff12\uff17.0.0.1/ https://\u2460\u2461\u2466.0.0.1/
    https://example.com\u2025x/ https://example\u00ad.com/ https://loc\u200balhost/ https://\u24c1ocalhost/
    https://b\u00fccher.ch/
    # URLs whose host name has letters that fold to an ASCII letter.
    https://foo.localho\u017ft/ https://169.254.169.254.\u017fslip.io/ https://x.localte\u017ft.me/
    http\u017f://example.com/ https://\u212aelvin.com/ https://dotless\u0131.com/ https://dotted\u0130.com/
    https://example.com/\u00e9
    # Ports
    https://example.com:80/ https://example.com:8443/ https://example.com:22/ https://example.com:0443/
    https://example.com:/ https://example.com:443443/ https://example.com:443:443/ https://example.com:+443/
    https://example.com:0x1bb/ https://example.com:\uff14\uff14\uff13/
"""
HOSTILE_URLS = [
    *(url for row in HOSTILE.splitlines() if "# " not in row for url in row.split()),
    *(f"https://example.com/{rest}" for rest in (" ", "\r\nHost: x", "a b", "a" * 2_000)),
    *("", " https://example.com/", "https://exa\tmple.com/", "https://exa\nmple.com/"),
    *("https://" + "a" * 64 + ".com/", "https://" + "a." * 130 + "com/"),
]


@pytest.mark.parametrize("url", GOOD.split())
def test_good_urls_are_taken(url: str):
    assert refusal(url) is None


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_are_refused(url: str):
    assert refusal(url) is not None
    loopback = url.lower() in {"https://127.0.0.1/", "https://localhost/", "https://[::1]/"} and url == url.lower()
    assert (refusal(url, loopback=True) is None) == loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/hook", "http://localhost/", "https://localhost:1/x?y", "http://[::1]:65535/"]
)
def test_loopback_is_allowed_where_the_deployment_says_so(url: str):
    assert refusal(url, loopback=True) is None
    assert refusal(url) is not None


BEYOND_LOOPBACK = """
    http://127.0.0.2/ http://127.0.0.1:0/ http://127.0.0.1:65536/ http://localhost.example.com/ http://10.0.0.1/
    http://localhost@example.com/ http://user@localhost/ http://localhost:80\\@example.com/ http://example.com/
    http://[::1]x/
"""


@pytest.mark.parametrize("url", BEYOND_LOOPBACK.split())
def test_loopback_allows_nothing_else(url: str):
    assert refusal(url, loopback=True) is not None
