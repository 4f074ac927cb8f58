"""Webhooks (Standard Webhooks, standardwebhooks.com): events, names, secrets, signatures, and what an answer means."""

import base64
import hashlib
import hmac
import json
import re
from enum import StrEnum
from typing import NamedTuple, NewType

from . import limits
from .ids import TaskKey, split_task_key, task_key_of
from .tenants import TENANT_PATTERN

# Names an endpoint everywhere below HTTP: tenant, colon, endpoint id.
EndpointKey = NewType("EndpointKey", str)

ENDPOINT_ID_PATTERN = "we_[0-9a-f]{24}"
ENDPOINT_ID_BYTES = 12
DELIVERY_ID_PATTERN = "evt_[0-9a-f]{32}_[0-9]{1,9}_[0-9]{1,15}_[0-9a-f]{24}"
WEBHOOK_KEY_CHARS_LEAST = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with

_ENDPOINT_ID = re.compile(ENDPOINT_ID_PATTERN)
_DELIVERY_ID = re.compile("evt_([0-9a-f]{32})_([0-9]{1,9})_([0-9]{1,15})_([0-9a-f]{24})")
_DOMAIN = b"onceover webhook secret 1\0"  # the prefix separates this use of the key from any later one


class Event(StrEnum):
    """The events of an endpoint: ends of tasks from `/v1`, and ends of other tasks."""

    RESPONSE_COMPLETED = "response.completed"
    RESPONSE_FAILED = "response.failed"
    RESPONSE_CANCELLED = "response.cancelled"
    RESPONSE_INCOMPLETE = "response.incomplete"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"


class AttemptFailure(StrEnum):
    """Why an attempt failed."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    REDIRECT = "redirect"
    GONE = "gone"
    RATE_LIMITED = "rate_limited"
    CLIENT_ERROR = "client_error"
    SERVER_ERROR = "server_error"
    URL_REFUSED = "url_refused"


class DeliveryOutcome(StrEnum):
    """How a delivery ended: it was accepted, the endpoint is gone, or all attempts of a day failed."""

    DELIVERED = "delivered"
    GONE = "gone"
    EXHAUSTED = "exhausted"


class DeliveryKey(NamedTuple):
    """Names a delivery by its task, the end of that task, and the endpoint. Receivers detect repetitions by its id.

    `ended_at` is when the task ended, in ms since the epoch. After a restore of the database a task may end again in
    the same generation, perhaps differently. Receivers do not know that second end, so it needs another id.
    """

    task_key: TaskKey
    generation: int
    endpoint_key: EndpointKey
    ended_at: int

    @property
    def id(self) -> str:
        """The `webhook-id`, the same for all attempts.

        The id contains no full stop, because full stops separate the signed parts.
        """
        _, task_id = split_task_key(self.task_key)
        end = f"{task_id.replace('-', '')}_{self.generation}_{self.ended_at}"
        return f"evt_{end}_{endpoint_id(self.endpoint_key)[3:]}"


def endpoint_key_of(tenant: str, one_id: str) -> EndpointKey:
    """Return the key of a tenant's endpoint."""
    return EndpointKey(f"{tenant}:{one_id}")


def endpoint_id(endpoint_key: EndpointKey) -> str:
    """Return the endpoint's id, which clients know."""
    return endpoint_key.rpartition(":")[2]


def new_endpoint_id(entropy: bytes) -> str:
    """Make an id of 12 random bytes."""
    assert len(entropy) == ENDPOINT_ID_BYTES
    return f"we_{entropy.hex()}"


def is_endpoint_id(text: str) -> bool:
    """Whether `new_endpoint_id` can have made the text."""
    return _ENDPOINT_ID.fullmatch(text) is not None


def read_delivery_id(tenant: str, text: str) -> DeliveryKey | None:
    """Return the tenant's delivery that an id names, or None if it cannot be one."""
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
    """Derive an endpoint's signing secret: an HMAC-SHA-256 with the deployment's key over endpoint and generation.

    The key is random and the output has 32 bytes, so one HMAC does all that HKDF's expansion (RFC 5869) would do.
    """
    named = _DOMAIN + f"{endpoint_key}\0{generation}".encode()
    digest = hmac.digest(webhook_key.encode(), named, hashlib.sha256)
    return SECRET_PREFIX + base64.b64encode(digest).decode("ascii")


def signature(one_secret: str, message_id: str, timestamp: int, body: str) -> str:
    """Sign a message as Standard Webhooks does: `v1,` and an HMAC-SHA-256 in base64. `timestamp` is in seconds."""
    key = base64.b64decode(one_secret.removeprefix(SECRET_PREFIX))
    signed = hmac.digest(key, f"{message_id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode('ascii')}"


def headers(secrets: tuple[str, ...], message_id: str, timestamp: int, body: str) -> dict[str, str]:
    """Make the headers of an attempt, with a signature for each of the secrets."""
    return {
        "content-type": "application/json",
        "user-agent": "onceover-webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(one, message_id, timestamp, body) for one in secrets),
    }


def body_of(message_id: str, event: str, ended_at: int, object_id: str) -> str:
    """Write the body, which names the task and contains nothing of its text. `ended_at` is in milliseconds."""
    told = {
        "object": "event",
        "id": message_id,
        "type": event,
        "created_at": ended_at // 1000,
        "data": {"id": object_id},
    }
    return json.dumps(told, separators=(",", ":"))


def told_id(event: str, task_key: TaskKey) -> str:
    """Return the id of the ended task, in the form of the API that the task came from."""
    _, task_id = split_task_key(task_key)
    return f"resp_{task_id}" if event.startswith("response.") else task_id


# --- What an answer means ----------------------------------------------------------------------------------


class ReceiverAnswer(NamedTuple):
    """The result of an attempt: a status or none, and how many seconds the receiver asks us to wait."""

    status: int | None
    failure: AttemptFailure | None
    retry_after: float | None = None


def answer_of(status: int, retry_after: float | None = None) -> ReceiverAnswer:
    """Judge the status of a receiver. Only 2xx means that the endpoint accepted the delivery.

    A redirect is not followed.
    """
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
    """Say how a delivery ends with this answer, `age_ms` after it began. None: it is tried again."""
    if answer.failure is None:
        return DeliveryOutcome.DELIVERED
    if answer.failure is AttemptFailure.GONE:
        return DeliveryOutcome.GONE
    return DeliveryOutcome.EXHAUSTED if age_ms >= limits.DELIVERY_SECONDS_MOST * 1000 else None


def delay_ms(tries: int, retry_after: float | None, age_ms: int, chance: float) -> int:
    """Return the wait after the `tries`-th failure: longer each time, up to a fifth of it jitter, over a day.

    A receiver's `Retry-After` is obeyed up to an hour. The last attempt comes when the day is over, not after it.
    """
    assert tries >= 1
    waits = limits.DELIVERY_WAITS_SECONDS
    seconds = waits[min(tries, len(waits)) - 1] * (0.8 + 0.2 * chance)
    if retry_after is not None:
        seconds = max(seconds, min(retry_after, limits.DELIVERY_RETRY_AFTER_SECONDS_MOST))
    left = limits.DELIVERY_SECONDS_MOST - age_ms / 1000
    return round(1000 * max(1.0, min(seconds, left)))
