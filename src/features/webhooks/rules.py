"""Rules of webhooks: events, ids, secrets, signatures (Standard Webhooks, standardwebhooks.com), answers, and URLs.

The rules for URLs keep the Worker from sending requests to places that the client could not reach itself. The check
accepts only what every URL parser reads in the same way, without a repair such as dropping tabs, turning backslashes
into slashes, or replacing dots of other scripts. It does not resolve host names: the platform must refuse a private
address behind a public name (decision 0028).
"""

import base64
import hashlib
import hmac
import json
import re
from enum import StrEnum
from typing import NamedTuple, NewType

from ...kernel.domain import limits
from ...kernel.domain.ids import TENANT_PATTERN, TaskKey, batch_id, split_task_key, task_key_of

TAKES = "https, on port 443, to a public name with a dot in it: no address, no user info, no fragment"

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label of a host name has letters, and does not look like 0x7f: else the name would be an IP address.
_TOP = "(?:[a-z]{2,63}|xn--[a-z0-9-]{1,58}[a-z0-9])"
# The rest of the URL, after the host, is ASCII without a fragment or backslash.
_TAIL = r"(?:[/?][!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]*)?"
# Without re.ASCII, the patterns match letters that fold to ASCII ones: long s, Kelvin sign, i without a dot.
_PUBLIC = re.compile(rf"(?i:https)://(?P<host>(?i:(?:{_LABEL}\.)+{_TOP}))(?::443)?{_TAIL}", re.ASCII)
_LOOPBACK = re.compile(rf"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::(?P<port>[1-9][0-9]{{0,4}}))?{_TAIL}")

_HOST_CHARS_MOST = 253  # The longest host name that RFC 1035 allows.
# Top-level names that are not public, for use inside a network or for no use at all: those of standards (RFC 6761,
# 6762, 7686, 8375, 9476, and ICANN for .internal), and what routers and companies use without one.
_STANDARD = frozenset({"localhost", "local", "test", "example", "invalid", "onion", "arpa", "alt", "internal"})
_INTERNAL = _STANDARD | {"localdomain", "intranet", "lan", "home", "corp", "private"}
# Public domains whose names resolve to an address that the name contains, or to the machine itself.
_SPELT = ("nip.io", "sslip.io", "xip.io", "traefik.me", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com")


def refusal(url: str, *, loopback: bool = False) -> str | None:
    """Return why no webhook may go to a URL, None if it may. `loopback` allows this machine, on any port."""
    if len(url) > limits.WEBHOOK_URL_CHARS_MOST:
        return f"must have at most {limits.WEBHOOK_URL_CHARS_MOST} characters"
    if loopback and (found := _LOOPBACK.fullmatch(url)) is not None and int(found["port"] or 80) <= 65_535:
        return None
    found = _PUBLIC.fullmatch(url)
    if found is None:
        return f"must be a URL of {TAKES}"
    return _flaw_of_name(found["host"].lower())


def _flaw_of_name(host: str) -> str | None:
    if len(host) > _HOST_CHARS_MOST:
        return f"must have a host name of at most {_HOST_CHARS_MOST} characters"
    if host.rpartition(".")[2] in _INTERNAL:
        return "must not have a host name that only a private network knows"
    if any(host == name or host.endswith(f".{name}") for name in _SPELT):
        return "must not have a host name that spells out an address"
    return None


# An `EndpointKey` names a webhook endpoint everywhere below the HTTP layer: tenant, colon, endpoint id.
EndpointKey = NewType("EndpointKey", str)

ENDPOINT_ID_PATTERN = "we_[0-9a-f]{24}"
DELIVERY_ID_PATTERN = "evt_[0-9a-f]{32}_[0-9]{1,9}_[0-9]{1,15}_[0-9a-f]{24}"
SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with

_ENDPOINT_ID = re.compile(ENDPOINT_ID_PATTERN)
_DELIVERY_ID = re.compile("evt_([0-9a-f]{32})_([0-9]{1,9})_([0-9]{1,15})_([0-9a-f]{24})")
# Keeps the secrets of webhook endpoints different from everything else that may later be derived from WEBHOOK_KEY.
_DOMAIN = b"onceover webhook secret 1\0"


class Event(StrEnum):
    """What a webhook endpoint can be notified of: the ends of tasks from `/v1`, of other tasks, and of batches."""

    RESPONSE_COMPLETED = "response.completed"
    RESPONSE_FAILED = "response.failed"
    RESPONSE_CANCELLED = "response.cancelled"
    RESPONSE_INCOMPLETE = "response.incomplete"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    BATCH_EXPIRED = "batch.expired"
    BATCH_CANCELLED = "batch.cancelled"


class AttemptFailure(StrEnum):
    """Why an attempt to send a webhook message failed."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    REDIRECT = "redirect"
    GONE = "gone"
    RATE_LIMITED = "rate_limited"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    URL_REFUSED = "url_refused"


class DeliveryOutcome(StrEnum):
    """How a webhook's delivery ended: it was accepted, its endpoint is gone, or all attempts of a day failed."""

    DELIVERED = "delivered"
    GONE = "gone"
    EXHAUSTED = "exhausted"


class DeliveryKey(NamedTuple):
    """Names a webhook's delivery by the task, by which end of that task the delivery is about, and by the endpoint.

    Receivers detect repetitions by the delivery's id. `ended_at` is when the task ended, in ms since the epoch. It is a
    part of the id, because after a restore of the database a task may end again in the same generation, perhaps
    differently, and receivers must not take the second end for a repetition.
    """

    task_key: TaskKey
    generation: int
    endpoint_key: EndpointKey
    ended_at: int

    @property
    def id(self) -> str:
        """The `webhook-id`, the same for all attempts. Full stops, which separate what is signed, are not in it."""
        _, task_id = split_task_key(self.task_key)
        end = f"{task_id.replace('-', '')}_{self.generation}_{self.ended_at}"
        return f"evt_{end}_{endpoint_id(self.endpoint_key)[3:]}"


def endpoint_key_of(tenant: str, one_id: str) -> EndpointKey:
    """Return the key of a tenant's webhook endpoint."""
    return EndpointKey(f"{tenant}:{one_id}")


def endpoint_id(endpoint_key: EndpointKey) -> str:
    """Return the id of a webhook endpoint, by which clients know it."""
    return endpoint_key.rpartition(":")[2]


def is_endpoint_id(text: str) -> bool:
    """Whether the text has the form of a webhook endpoint's id."""
    return _ENDPOINT_ID.fullmatch(text) is not None


def read_delivery_id(tenant: str, text: str) -> DeliveryKey | None:
    """Return the key of the tenant's webhook delivery with this id, or None if the text cannot be a delivery's id."""
    found = _DELIVERY_ID.fullmatch(text)
    assert re.fullmatch(TENANT_PATTERN, tenant)
    if found is None:
        return None
    digits = found[1]
    task_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    endpoint_key = endpoint_key_of(tenant, f"we_{found[4]}")
    return DeliveryKey(task_key_of(tenant, task_id), int(found[2]), endpoint_key, int(found[3]))


# --- Secrets and signatures -------------------------------------------------------------------------------


def secret(webhook_key: str, endpoint_key: EndpointKey, generation: int) -> str:
    """Derive a signing secret: an HMAC-SHA-256 with WEBHOOK_KEY, random, of the endpoint's key and `generation`."""
    named = _DOMAIN + f"{endpoint_key}\0{generation}".encode()
    digest = hmac.digest(webhook_key.encode(), named, hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(digest).decode("ascii")


def signature(one_secret: str, message_id: str, timestamp: int, body: str) -> str:
    """Sign a webhook as Standard Webhooks does, with `v1,` and an HMAC-SHA-256 in base64. `timestamp` is in seconds."""
    key = base64.b64decode(one_secret.removeprefix(SECRET_PREFIX))
    signed = hmac.digest(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode('ascii')}"


def headers(secrets: tuple[str, ...], message_id: str, timestamp: int, body: str) -> dict[str, str]:
    """Make the HTTP headers of an attempt to send a webhook, with one signature for each of the secrets."""
    return {
        "content-type": "application/json",
        "user-agent": "onceover-webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(one, message_id, timestamp, body) for one in secrets),
    }


def body_of(message_id: str, event: str, ended_at: int, object_id: str) -> str:
    """Write a webhook's body: the ended task's name, and none of its text. `ended_at` is in milliseconds."""
    told = {
        "object": "event",
        "id": message_id,
        "type": event,
        "created_at": ended_at // 1000,
        "data": {"id": object_id},
    }
    return json.dumps(told, separators=(",", ":"))


def told_id(event: str, task_key: TaskKey) -> str:
    """Return the ended task's id as a webhook shows it: with a prefix if clients know the task by an id of `/v1`."""
    _, task_id = split_task_key(task_key)
    if event.startswith("batch."):
        return batch_id(task_id)
    return f"resp_{task_id}" if event.startswith("response.") else task_id


# --- What an answer means ----------------------------------------------------------------------------------


class ReceiverAnswer(NamedTuple):
    """An attempt's HTTP status and failure, either may be None, and the `retry_after` asked for, in seconds."""

    status: int | None
    failure: AttemptFailure | None
    retry_after: float | None = None


def answer_of(status: int, retry_after: float | None = None) -> ReceiverAnswer:
    """Judge a receiver's status: only 2xx accepts the delivery, and a redirect is not followed."""
    if 200 <= status < 300:
        return ReceiverAnswer(status, None)
    if status == 410:
        return ReceiverAnswer(status, AttemptFailure.GONE)
    if 300 <= status < 400:
        return ReceiverAnswer(status, AttemptFailure.REDIRECT)
    if status == 429:
        return ReceiverAnswer(status, AttemptFailure.RATE_LIMITED, retry_after)
    kind = AttemptFailure.CLIENT_ERROR if 400 <= status < 500 else AttemptFailure.SERVER_ERROR
    return ReceiverAnswer(status, kind, retry_after)


def outcome_of(answer: ReceiverAnswer, age_ms: int) -> DeliveryOutcome | None:
    """Return how a webhook delivery ends with an answer `age_ms` after the delivery's beginning; None to try again."""
    if answer.failure is None:
        return DeliveryOutcome.DELIVERED
    if answer.failure is AttemptFailure.GONE:
        return DeliveryOutcome.GONE
    return DeliveryOutcome.EXHAUSTED if age_ms >= limits.DELIVERY_SECONDS_MOST * 1000 else None


def delay_ms(tries: int, retry_after: float | None, age_ms: int, chance: float) -> int:
    """Return how many ms a webhook delivery waits after its `tries`-th failure: ever longer, with some jitter.

    A receiver's `Retry-After` is obeyed up to an hour. The last attempt comes a day after the delivery's beginning.
    """
    assert tries >= 1
    waits = limits.DELIVERY_WAITS_SECONDS
    seconds = waits[min(tries, len(waits)) - 1] * (0.8 + 0.2 * chance)
    if retry_after is not None:
        seconds = max(seconds, min(retry_after, limits.DELIVERY_RETRY_AFTER_SECONDS_MOST))
    left = limits.DELIVERY_SECONDS_MOST - age_ms / 1000
    return round(1000 * max(1.0, min(seconds, left)))
