"""Simulates queues, whose messages come in any order, sometimes late, twice or not at all.

A message that is not acked is delivered up to `max_retries + 1` times. After the last delivery it goes to the
dead-letter queue or is deleted. In production mode an explicit ack counts even if the handler then raises. In local
mode, as in workerd's simulator, an exception retries every message of the batch. A restart may lose the messages in the
queue.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from simulator.platform.binding_port import Network
from simulator.platform.invocation_limits import HANDLER_SECONDS_MOST
from simulator.platform.isolate import InvocationEnd, SimulatedInvocation


@dataclass(slots=True, eq=False)
class Stored:
    """A message as the queue stores it."""

    id: str
    body: str
    sent_ms: int
    attempts: int = 0
    doomed: bool = False
    twin: bool = False  # True if the message is a duplicate, which is not duplicated again.


@dataclass(slots=True, eq=False)
class DeliveredMessage:
    """One delivery of a queue's message, as the consumer sees it.

    If the consumer acks and retries the message several times, only the first of these calls counts.
    """

    id: str
    timestamp: datetime
    attempts: int
    body: Any
    fate: Literal["ack", "retry"] | None = None
    delay_seconds: float = 0.0

    def ack(self) -> None:
        """Mark the message as done."""
        if self.fate is None:
            self.fate = "ack"

    def retry(self, options: dict[str, Any] | None = None) -> None:
        """Ask for another delivery of the message, which counts as an attempt."""
        if self.fate is None:
            self.fate = "retry"
            self.delay_seconds = float((options or {}).get("delaySeconds") or 0)


@dataclass(slots=True, eq=False)
class DeliveredBatch:
    """The batch of messages with which a consumer is called."""

    queue: str
    messages: list[DeliveredMessage]

    def ackAll(self) -> None:  # noqa: N802 - the platform's name
        """Ack each message that was neither acked nor retried."""
        for message in self.messages:
            message.ack()

    def retryAll(self, options: dict[str, Any] | None = None) -> None:  # noqa: N802 - the platform's name
        """Retry each message that was neither acked nor retried."""
        for message in self.messages:
            message.retry(options)


@dataclass(slots=True)
class QueueSettings:
    """The settings of a consumer, as in wrangler.toml."""

    max_batch_size: int = 1
    max_retries: int = 2
    max_concurrency: int = 4
    max_batch_seconds: float = 0.0  # How many seconds a batch that is not full waits for messages.
    # True if a consumer is occupied, and its messages are not settled, until the work that it gave to `waitUntil` has
    # ended: Cloudflare's default, without the compatibility flag `queue_consumer_no_wait_for_wait_until`.
    waits_for_background: bool = True
    mode: Literal["production", "local"] = "production"


@dataclass(slots=True)
class QueueCounts:
    """How many messages of a queue were sent, delivered, acked, retried, dead-lettered and lost.

    `operations` is the number of operations that the free plan counts: writes, reads and deletes of messages.
    """

    sent: int = 0
    delivered: int = 0
    acked: int = 0
    retried: int = 0
    dead_lettered: int = 0
    lost: int = 0
    operations: int = 0


@dataclass(slots=True)
class _Flight:
    batch: DeliveredBatch
    stored: list[Stored]
    deadline: Any = field(default=None)


class QueueServer:
    """A queue, which stores messages and delivers them.

    `deliver` starts the consumer, or returns None if the deployment has no consumer.
    """

    def __init__(
        self, name: str, network: Network, now_ms: Callable[[], int], settings: QueueSettings | None = None
    ) -> None:
        self.name = name
        self.network = network
        self.loop = network.loop
        self.faults = network.faults
        self.settings = settings or QueueSettings()
        self.dead_letter: QueueServer | None = None
        self.deliver: Callable[[DeliveredBatch], SimulatedInvocation | None] = lambda _batch: None
        self.counts = QueueCounts()
        self.ready: list[Stored] = []
        self.delayed = 0
        self.in_flight = 0
        self._now_ms = now_ms
        self._ids = 0
        self._generation = 0

    def is_empty(self) -> bool:
        """Whether no message is waiting, delayed, or being worked on by a consumer."""
        return not self.ready and self.delayed == 0 and self.in_flight == 0

    def accept(self, body: str, delay_seconds: float = 0.0, *, honest: bool = False) -> None:
        """Store a message. With `honest`, for messages of the platform itself, no fault strikes the message."""
        self._ids += 1
        self.counts.sent += 1
        self.counts.operations += 1
        stored = Stored(f"{self.name}-{self._ids}", body, self._now_ms())
        faults = self.faults
        if not honest:
            if faults.fires("message_lost", self.name):
                self.counts.lost += 1
                return
            if faults.fires("message_delayed", self.name):
                delay_seconds += faults.between(1, 300)
            stored.doomed = faults.fires("retries_exhausted", self.name)
            if faults.fires("poison_message", self.name):
                self.accept('{"poison":[null]}' if faults.between(0, 1) < 0.5 else '"\\u0000"', honest=True)
        self._put(stored, delay_seconds)

    def lose_everything(self) -> None:
        """Lose all messages, as a restart of workerd's simulator does, which keeps messages only in its memory."""
        self.counts.lost += len(self.ready) + self.delayed
        self._generation += 1
        self.ready.clear()
        self.delayed = 0
        self.in_flight = 0

    def pump(self) -> None:
        """Deliver ready messages, as long as there is a consumer and its concurrency allows it."""
        settings = self.settings
        while self.ready and self.in_flight < settings.max_concurrency:
            stored = [self._take() for _ in range(min(len(self.ready), settings.max_batch_size))]
            messages = [
                DeliveredMessage(
                    one.id,
                    datetime.fromtimestamp(one.sent_ms / 1000, UTC),
                    one.attempts + 1,
                    json.loads(one.body),
                )
                for one in stored
            ]
            batch = DeliveredBatch(self.name, messages)
            invocation = self.deliver(batch)
            if invocation is None:
                self.ready[:0] = stored
                return
            self._follow(invocation, _Flight(batch, stored))

    def _take(self) -> Stored:
        late = len(self.ready) > 1 and self.faults.fires("message_reordered", self.name)
        return self.ready.pop(int(self.faults.between(1, len(self.ready))) if late else 0)

    def _put(self, stored: Stored, delay_seconds: float) -> None:
        self.delayed += 1
        delay = delay_seconds + self.network.latency_seconds()
        self.loop.call_event(delay, self._arrive, stored, self._generation, context=self.loop.outside)

    def _arrive(self, stored: Stored, generation: int) -> None:
        if generation != self._generation:
            return
        self.delayed -= 1
        self.ready.append(stored)
        wait = self.settings.max_batch_seconds
        if wait and len(self.ready) < self.settings.max_batch_size:
            self.loop.call_later(wait, self.pump, context=self.loop.outside)
        else:
            self.pump()

    def _follow(self, invocation: SimulatedInvocation, flight: _Flight) -> None:
        self.in_flight += 1
        for stored in flight.stored:
            stored.attempts += 1
            self.counts.delivered += 1
            self.counts.operations += 1
            if stored.attempts == 1 and not stored.twin and self.faults.fires("duplicate_delivery", self.name):
                attempts = int(self.faults.between(0, 2))
                twin = Stored(stored.id, stored.body, stored.sent_ms, attempts, twin=True)
                self._put(twin, 0.0 if self.faults.between(0, 1) < 0.5 else self.faults.between(0, 400))
        loop = self.loop
        if any(stored.doomed for stored in flight.stored) and self.faults.active:
            loop.call_later(self.faults.between(0, 0.1), _kill_running, invocation, context=loop.outside)
        flight.deadline = loop.call_later(HANDLER_SECONDS_MOST, invocation.kill, context=loop.outside)
        generation = self._generation
        ended = invocation.all_ended if self.settings.waits_for_background else invocation.outcome
        ended.add_done_callback(
            lambda _future: self._finish(flight, invocation.outcome.result(), generation), context=loop.outside
        )

    def _finish(self, flight: _Flight, outcome: InvocationEnd, generation: int) -> None:
        flight.deadline.cancel()
        if generation != self._generation:
            return
        self.in_flight -= 1
        kind = outcome.kind
        if kind == "returned" and self.faults.fires("consumer_exception", self.name):
            kind = "raised"
        for stored, message in zip(flight.stored, flight.batch.messages, strict=True):
            self._settle(stored, message, kind)
        self.pump()

    def _settle(self, stored: Stored, message: DeliveredMessage, kind: str) -> None:
        forgets = kind == "died" or (kind == "raised" and self.settings.mode == "local")
        fate = None if forgets else message.fate
        if fate == "ack" or (fate is None and kind == "returned"):
            self.counts.acked += 1
            self.counts.operations += 1
        elif stored.attempts <= self.settings.max_retries:
            self.counts.retried += 1
            delay = message.delay_seconds if fate == "retry" else 0.0
            self._put(stored, delay + (self.faults.between(0, 30) if kind == "died" else 0.0))
        else:
            self.counts.dead_lettered += 1
            self.faults.record(self.name, "gives up", stored.id)
            if self.dead_letter is not None:
                self.dead_letter.accept(stored.body, honest=True)


def _kill_running(invocation: SimulatedInvocation) -> None:
    if not invocation.outcome.done():
        invocation.isolate.kill()
