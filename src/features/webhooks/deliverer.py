"""Sends webhooks.

A webhook delivery is claimed under a fence and a lease like a task, and the holder of the claim sends it once. The
transaction that ends a task also writes and claims the deliveries about this end, and the same invocation sends them.
The sweep sends those for which the invocation has no time, and repeats those that fail, each under the same id.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from ...kernel.calls import clock
from ...kernel.calls.pace import retry_after_seconds
from ...kernel.calls.protocol import HttpConnectionLost, HttpTimeout
from ...kernel.domain import limits
from ...kernel.run.invocation import Invocation
from ...kernel.store.d1 import BoundStatement, Row
from ...kernel.work.sweep.duty import Duty, DutyCost, SweepAllowance
from . import rules as webhooks
from .deliveries_store import Attempt, AttemptResult, DeliveryStore, DueDelivery, Outbox, Taken, look, read_look
from .rules import AttemptFailure, DeliveryOutcome, EndpointKey, ReceiverAnswer

# One subrequest claims several webhook deliveries, and another one records the attempts to send them, with so many
# statements at most for each delivery.
_CALLS = 2
_STATEMENTS_OF_CLAIM = 2
_STATEMENTS_OF_RECORD = 4
# What one webhook delivery takes: its claim, the message and the attempt's record, with their statements.
_DELIVERY = DutyCost(3, 6)


class SendResult(NamedTuple):
    """The result of one attempt to send a webhook message."""

    answer: ReceiverAnswer
    milliseconds: int


class Deliverer(Outbox):
    """Writes and sends webhook deliveries in one invocation, within the invocation's allowance."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation
        self._store = invocation.store.beside(DeliveryStore)

    def begin(self, due: Sequence[DueDelivery] = ()) -> None:
        """Begin to send the webhook deliveries that this invocation wrote, and the due deliveries; return at once.

        Without WEBHOOK_KEY no message can be signed, so none is sent. Deliveries to endpoints whose last attempt failed
        are sent beside the others, a few at a time, because they may hang.
        """
        fresh, astray = self.fresh, any(one.astray for one in due)
        self.fresh = []
        due = [one for one in due if not one.astray]
        if self._invocation.settings.webhook_key is None:
            due, fresh = [], []
        failing, sound = [one for one in due if one.failures], [one for one in due if not one.failures]
        few = limits.DELIVERIES_AT_ONCE_FAILING
        if fresh or sound or astray:
            most = limits.DELIVERIES_AT_ONCE - (few if failing else 0)
            self._invocation.wait_until(self._deliver(fresh, sound, clock.now(), most, astray=astray))
        if failing:
            self._invocation.wait_until(self._deliver([], failing, clock.now(), few))

    def begin_one(self, taken: Taken, asked_at: float) -> None:
        """Send a delivery claimed at `asked_at`, the steady clock's time when the claim was sent."""
        self._invocation.wait_until(self._deliver([(taken, asked_at)], [], clock.now(), 1))

    async def _deliver(
        self,
        held: list[tuple[Taken, float]],
        due: list[DueDelivery],
        began_at: float,
        at_once: int,
        *,
        astray: bool = False,
    ) -> None:
        """Send deliveries, at most `at_once` at a time. One that is not sent stays claimed for a minute."""
        try:
            if astray and self._sendable(taking=False) > 0:
                await self._store.sort()
            while (held or due) and clock.now() - began_at <= limits.DELIVERY_START_SECONDS:
                most = min(at_once, self._sendable(taking=bool(due and not held)))
                if most <= 0:
                    break
                part, due = ([], due) if held else (due[:most], due[most:])
                # The statements that record an attempt are reserved before the attempt, because a sweep spends the same
                # allowance in the meantime, and an attempt that cannot be recorded is useless.
                with self._invocation.meter.reserved(1, len(part or held[:most]) * _STATEMENTS_OF_RECORD):
                    if part:
                        held = await self._take(part)
                    group, held = held[:most], held[most:]
                    tried = await asyncio.gather(*(self._try(taken, held_at) for taken, held_at in group))
                results = [one for one in tried if one is not None]
                await self._record(results)
                gone = {one.taken.key.endpoint_key for one in results if one.outcome is DeliveryOutcome.GONE}
                held = [one for one in held if one[0].key.endpoint_key not in gone]
        except Exception as error:  # noqa: BLE001 - nothing awaits this coroutine; the due deliveries stay due
            self._invocation.log.failure("delivery_failed", error)

    def _sendable(self, *, taking: bool) -> int:
        """Return how many webhook deliveries may be sent at once, so that each attempt can still be recorded."""
        meter, settings = self._invocation.meter, self._invocation.settings
        calls = settings.subrequests - meter.subrequests_taken - (_CALLS if taking else _CALLS - 1)
        statements = settings.statements - meter.statements_taken
        return min(calls, statements // (_STATEMENTS_OF_RECORD + _STATEMENTS_OF_CLAIM))

    async def _take(self, part: Sequence[DueDelivery]) -> list[tuple[Taken, float]]:
        asked_at = clock.now()
        self._invocation.log("deliveries_taken", deliveries=len(part))
        with self._invocation.meter.reserved(len(part), 0):  # the attempts themselves
            return [(one, asked_at) for one in await self._store.take(part)]

    async def _record(self, tried: Sequence[AttemptResult]) -> None:
        if tried:
            await self._store.record(tried)
            self._invocation.log("deliveries_recorded", deliveries=len(tried), **self._invocation.meter.facts())

    async def _try(self, taken: Taken, held_at: float) -> AttemptResult | None:
        """Make one attempt to send. If the claim may have run out, return None and send nothing."""
        waited = clock.now() - held_at
        if waited + limits.DELIVERY_SECONDS > limits.DELIVERY_HELD_SECONDS:
            return None
        at = taken.now_ms + round(waited * 1000)
        told_id = webhooks.told_id(taken.event, taken.key.task_key)
        body = webhooks.body_of(taken.key.id, taken.event, taken.key.ended_at, told_id)
        secrets = self.secrets(taken.key.endpoint_key, taken.secret_generation, old_too=taken.old_secret_signs)
        sent = await self.send(taken.url, secrets, taken.key.id, at // 1000, body)
        answer, age_ms = sent.answer, at + sent.milliseconds - taken.begun_at
        outcome = webhooks.outcome_of(answer, age_ms)
        delay = webhooks.delay_ms(taken.tries_of_day + 1, answer.retry_after, age_ms, self._invocation.chance())
        asked = min(answer.retry_after or 0.0, limits.DELIVERY_RETRY_AFTER_SECONDS_MOST)
        log = self._invocation.log.bind(task=taken.key.task_key, delivery=taken.key.id, event_type=taken.event)
        log("delivery_tried", status=answer.status, failure=answer.failure, ms=sent.milliseconds, outcome=outcome)
        attempt = Attempt(at, answer.status, sent.milliseconds, answer.failure)
        return AttemptResult(taken, attempt, outcome, 0 if outcome else delay, round(asked * 1000))

    def secrets(self, endpoint_key: EndpointKey, generation: int, *, old_too: bool) -> tuple[str, ...]:
        """Derive the secrets that sign the messages to an endpoint, the newest first."""
        key = self._invocation.settings.webhook_key
        assert key is not None
        generations = (generation, generation - 1) if old_too and generation else (generation,)
        return tuple(webhooks.secret(key, endpoint_key, one) for one in generations)

    async def send(self, url: str, secrets: tuple[str, ...], message_id: str, timestamp: int, body: str) -> SendResult:
        """Send a message once, within DELIVERY_SECONDS; not at all to a URL that is not allowed any more."""
        if webhooks.refusal(url, loopback=self._invocation.settings.webhook_loopback) is not None:
            return SendResult(ReceiverAnswer(None, AttemptFailure.URL_REFUSED), 0)
        began_at = clock.now()
        self._invocation.meter.spend()
        try:
            status, found = await self._invocation.courier.post(
                url,
                headers=webhooks.headers(secrets, message_id, timestamp, body),
                body=body,
                timeout_seconds=limits.DELIVERY_SECONDS,
            )
            answer = webhooks.answer_of(status, retry_after_seconds(found))
        except HttpTimeout:
            answer = ReceiverAnswer(None, AttemptFailure.TIMEOUT)
        except HttpConnectionLost:
            answer = ReceiverAnswer(None, AttemptFailure.CONNECTION)
        return SendResult(answer, round((clock.now() - began_at) * 1000))


def deliverer_of(invocation: Invocation) -> Deliverer:
    """Return the deliverer that was made with the invocation."""
    return next(hook for hook in invocation.hooks.ends if isinstance(hook, Deliverer))


class Sending(Duty):
    """Sends due webhook deliveries: at once, or at the sweep's end if tasks may run in this invocation."""

    def __init__(self, invocation: Invocation) -> None:
        self._deliverer = deliverer_of(invocation)
        self._plan = invocation.settings.plan
        self._due: Sequence[DueDelivery] = ()

    def look(self) -> BoundStatement:
        """Make the statement that finds due deliveries."""
        return look(self._plan)

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Send the deliveries, or keep them."""
        self._due = read_look(rows)
        if not runs_tasks:
            self._begin()

    def kept(self) -> DutyCost:
        """Return what one delivery takes, if some are kept."""
        return _DELIVERY if self._due else DutyCost()

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Begin to send the deliveries that were kept. The deliverer spends only what the invocation has left."""
        self._begin()
        return False

    def _begin(self) -> None:
        self._deliverer.begin(self._due)
        self._due = ()
