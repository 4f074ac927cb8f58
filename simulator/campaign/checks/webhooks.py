"""Checks webhooks: an endpoint gets each end of a task that it subscribes to, and no end that did not happen.

The check keeps its own account of the ends. The check reads the tables after each write, and sees each message that
reaches a receiver.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from random import Random
from typing import Any, NamedTuple

from simulator.campaign.clients import tenants
from simulator.campaign.clients.clients import Clients
from simulator.campaign.subject import featured
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.receivers import ReceivedMessage, Receivers
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.domain import limits
from src.kernel.domain.ids import LOCAL, TaskKey, batch_id, split_task_key

if "webhooks" in featured.NAMES:
    from src.features.webhooks.rules import (
        DeliveryKey,
        DeliveryOutcome,
        EndpointKey,
        Event,
        endpoint_id,
        endpoint_key_of,
    )

SENDS_JUDGED = "messages whose sender had to be the only one"
SENDS_EXCUSED = f"{SENDS_JUDGED}, excused for the database's clock that jumped or a sender that could not see time pass"
SHARES_JUDGED = "messages of a tenant whose receivers hang"
TRIES_JUDGED = "tries of an endpoint that has failed too often"
_UNDER_WAY_MOST = 300  # No more messages than this can be under way.
_OF_SWEEPS = 3 * limits.DELIVERIES_AT_ONCE  # How many messages sweeps may send beside a tenant's share.
_CLAIMED_BEFORE_SECONDS = limits.DELIVERY_START_SECONDS + 2.0
_BEHIND_SECONDS_MOST = 1.0  # A clock that stands still within a turn lags by less than this.
# Within this many seconds after the last fault all webhook deliveries must have ended.
SENT_SECONDS_MOST = 3_600
_ENDED = (
    "SELECT id, generation, status, finished_at, response IS NOT NULL, truncated + failed > 0, kind, error_code "
    "FROM tasks WHERE finished_at IS NOT NULL AND (kind IS NOT 'batch' OR "
    "EXISTS (SELECT 1 FROM batches WHERE task_id = tasks.id AND ended_at IS NOT NULL))"
)
_THERE = "SELECT 1 FROM tasks WHERE id = ?"
_ENDPOINTS = "SELECT id, event_types, disabled_at, url, failures FROM webhook_endpoints"
_DELIVERIES = (
    "SELECT task_id, generation, endpoint_id, event, state, outcome, fence, due_at, begun_at, ended_at "
    "FROM webhook_deliveries"
)


class _End(NamedTuple):
    """An end of a task; `finished_at` is in milliseconds since the epoch.

    A batch ends when its files are complete. `response` is 1 if the task of the end came through `/v1`. `cut_off` is 1
    if outputs were cut off or chunks failed.
    """

    task_key: TaskKey
    generation: int
    status: str
    finished_at: int
    response: int
    cut_off: int
    kind: str | None
    error_code: str | None

    @property
    def event(self) -> str:
        """The name of the event that endpoints receive for the task's end."""
        if self.kind == "batch":
            return f"batch.{'expired' if self.error_code == 'deadline_exceeded' else self.status}"
        if not self.response:
            return f"task.{self.status}"
        return f"response.{'incomplete' if self.cut_off and self.status == 'completed' else self.status}"

    @property
    def told_id(self) -> str:
        """The task's id in the messages to endpoints."""
        _, task_id = split_task_key(self.task_key)
        if self.kind == "batch":
            return batch_id(task_id)
        return f"resp_{task_id}" if self.response else task_id


class Webhooks:
    """The endpoints of one world, and the messages that they received."""

    def __init__(self, world: World, clients: Clients, rng: Random, *, hanging: str = "") -> None:
        self._world = world
        self._clients = clients
        self._rng = rng
        self.receivers = Receivers(world)
        self.receivers.hanging = self._hanging = hanging
        self.receivers.arriving = self._arriving
        self._connection = world.database.connection
        self._ends: dict[tuple[TaskKey, int], _End] = {}
        self._gone_at: dict[str, float] = {}  # By URL of an endpoint: when it was disabled or deleted, else `inf`.
        self._failing_since: dict[str, float] = {}  # By URL of an endpoint that is to be tried by one delivery.
        self._last: dict[str, ReceivedMessage] = {}  # By message id: the last webhook message that was judged.
        self._held: dict[tuple[str, int, str], tuple[int, int]] = {}  # By webhook delivery: its fence and due time.
        self._owed: set[tuple[str, int, str]] = set()  # The webhook deliveries that are kept as long as their tasks.
        self._keys = [key for tenant in (LOCAL, *tenants.TENANTS) for key in self._install(tenant)]
        self.taken: set[str] = set()
        self.judged: Counter[str] = Counter()
        world.database.observers.append(self._look)

    def _install(self, tenant: str) -> list[EndpointKey]:
        """Write one or two endpoints of a tenant, and of a tenant whose receivers hang all that it may have.

        The second of a tenant's two endpoints subscribes to only some of the events.
        """
        made, hangs = [], tenant == self._hanging
        for number in range(limits.WEBHOOK_ENDPOINTS_MOST if hangs else self._rng.choice((1, 1, 2))):
            key = endpoint_key_of(tenant, f"we_{number:024x}")
            events = [event for event in Event if hangs or not number or self._rng.random() < 0.5] or [
                Event.TASK_FAILED
            ]
            values = (key, "x", f"https://{tenant}-{number}.example.com/", json.dumps(events), 0, 0)
            self._connection.execute(
                "INSERT INTO webhook_endpoints (id, name, url, event_types, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
            made.append(key)
        return made

    async def meddle(self, *, keyed: bool) -> None:
        """In three tenths of the runs, let an operator try up to three times to delete an endpoint."""
        if self._hanging or self._rng.random() < 0.7:
            return
        await asyncio.sleep(self._rng.uniform(0, 30))
        # If requests need no keys, every request belongs to the tenant `local`.
        key = self._rng.choice([one for one in self._keys if keyed or one.startswith(f"{LOCAL}:")])
        path = f"/v1/webhook_endpoints/{endpoint_id(key)}"
        headers = tenants.headers(key.partition(":")[0])
        for _ in range(3):
            reply = await self._clients.fetch(ClientRequest("DELETE", path, headers=headers))
            if reply is not None and reply.status in {200, 401, 404}:
                return

    # --- after each write -------------------------------------------------------------------------------

    def _look(self) -> None:
        """After a write, check that each new end of a task has its deliveries, and that no other delivery exists."""
        rows = self._connection.execute(_DELIVERIES).fetchall()
        known = {(task_key, generation, endpoint) for task_key, generation, endpoint, *_ in rows}
        endpoints = self._connection.execute(_ENDPOINTS).fetchall()
        self._look_for_gone({url for _, _, disabled, url, _ in endpoints if disabled is None})
        self._look_for_failing({url for *_, url, failures in endpoints if failures >= limits.BREAKER_FAILURES})
        for values in self._connection.execute(_ENDED).fetchall():
            end = _End(*values)
            if (end.task_key, end.generation) in self._ends:
                continue
            self._ends[end.task_key, end.generation] = end
            for endpoint, events, disabled, *_ in endpoints:
                if disabled is not None or not endpoint.startswith(f"{end.task_key.partition(':')[0]}:"):
                    continue
                wanted = end.event in json.loads(events)
                if wanted != ((end.task_key, end.generation, endpoint) in known):
                    raise InvariantBroken(f"{end.task_key}: {end.event}, and the outbox has it not as {endpoint} asks")
        for task_key, generation, _, event, *_ in rows:
            ended = self._ends.get((task_key, generation))
            if ended is None or event != ended.event:
                raise InvariantBroken(f"{task_key}: a delivery says {event} of generation {generation}: {ended}")
        self._look_for_lost(known)
        self._look_at_claims(rows)

    def _look_for_gone(self, there: set[str]) -> None:
        """Record when each endpoint goes. An endpoint that stays is there even if nothing is written for minutes."""
        now = self._world.loop.now()
        gone = {url: min(at, now) for url, at in self._gone_at.items() if url not in there}
        self._gone_at = dict.fromkeys(there, math.inf) | gone

    def _look_for_failing(self, failing: set[str]) -> None:
        """Record since when each endpoint has failed too often."""
        now = self._world.loop.now()
        self._failing_since = {url: self._failing_since.get(url, now) for url in failing}

    def _look_for_lost(self, known: set[tuple[str, int, str]]) -> None:
        """Check that a delivery that was once in the outbox stays on record until its task is erased."""
        self._owed |= known
        for key in self._owed - known:
            if self._connection.execute(_THERE, key[:1]).fetchone() is not None:
                raise InvariantBroken(f"{key} was in the outbox and is lost, and its task is there")
            self._owed.discard(key)

    def _look_at_claims(self, rows: list[tuple[Any, ...]]) -> None:
        """Check that no sender claims a delivery before it is due or while another sender's claim on it lasts."""
        now_ms, before = self._world.database.now_ms(), self._held
        self._held = {tuple(row[:3]): row[6:8] for row in rows}
        for key, (fence, _) in self._held.items():
            was, due_at = before.get(key, (fence, 0))
            if fence > was and due_at > now_ms:
                raise InvariantBroken(f"{key} was taken on {due_at - now_ms} ms before its time")

    # --- each message -----------------------------------------------------------------------------------

    def _arriving(self, message: ReceivedMessage) -> None:
        told = json.loads(message.body)
        ends = [end for end in self._ends.values() if self._is_of(message.id, end)]
        wanted = (ends[0].event, ends[0].told_id) if ends else ()
        if wanted != (told["type"], told["data"]["id"]) or message.id != told["id"]:
            raise InvariantBroken(f"{message.id} tells of {told['type']}, an end that did not happen")
        self._check_there(message)
        self._check_share(message)
        self._check_one_try(message)
        self._check_alone(message)
        if message.taken:
            self.taken.add(message.id)

    def _check_there(self, message: ReceivedMessage) -> None:
        """Check that no message goes to an endpoint that has been gone for longer than a claim lasts.

        A frozen sender that goes on in a late timer is judged by its own clock, because it cannot see how long it was
        frozen.
        """
        sent_at = message.at - message.behind
        if sent_at - self._gone_at.get(message.url, -math.inf) > limits.DELIVERY_HELD_SECONDS:
            raise InvariantBroken(f"{message.id} was sent to an endpoint that has been gone for a minute")

    def _under_way(self) -> list[ReceivedMessage]:
        now = self._world.loop.now()
        return [one for one in self.receivers.messages[-_UNDER_WAY_MOST:] if one.until > now]

    def _check_share(self, message: ReceivedMessage) -> None:
        """Check that a tenant whose receivers hang has only its share of the messages that are under way."""
        mine = f"https://{self._hanging}-"
        if not self._hanging or not message.url.startswith(mine):
            return
        count = sum(one.url.startswith(mine) for one in self._under_way())
        self.judged[SHARES_JUDGED] += 1
        if count > limits.DELIVERIES_SHARE + _OF_SWEEPS:
            raise InvariantBroken(f"{count} messages to receivers of {self._hanging} hang at the same time")

    def _check_one_try(self, message: ReceivedMessage) -> None:
        """Check that an endpoint that has failed too often gets one message at a time.

        Messages that were claimed before the endpoint had failed so often are left out, and so are those of schedules
        with other faults, in which a sender may stand still.
        """
        since = self._failing_since.get(message.url, math.inf) + _CLAIMED_BEFORE_SECONDS
        if not self._hanging or message.at < since:
            return
        self.judged[TRIES_JUDGED] += 1
        if any(one.url == message.url and one.at >= since for one in self._under_way()):
            raise InvariantBroken(f"{message.url} has failed too often and gets two messages at a time")

    def _check_alone(self, message: ReceivedMessage) -> None:
        """Check that no other sender was sending the message, and that its sender's claim was still valid.

        A frozen sender that goes on in a late timer is excused: it cannot see that its claim is over, because its clock
        shows the time for which the timer was set. A jump of the database's clock, by which claims end, may end a claim
        early, and each claim lasts DELIVERY_HELD_SECONDS. The jump of an isolate's clock excuses nothing, because a
        sender goes by its steady clock. All messages of one webhook delivery have the same id.
        """
        jumped_seconds = (self._world.now_ms() - self._world.database.jumped_at_ms) / 1000  # how long ago it jumped
        if jumped_seconds <= limits.DELIVERY_HELD_SECONDS or message.behind > _BEHIND_SECONDS_MOST:
            self.judged[SENDS_EXCUSED] += 1
            return
        self.judged[SENDS_JUDGED] += 1
        before = self._last.get(message.id)
        if before is not None and message.at < before.until:
            raise InvariantBroken(f"{message.id} was sent by two at once")
        self._check_held(message.id)
        self._last[message.id] = message

    def _check_held(self, message_id: str) -> None:
        """Check that the delivery with this message id is not delivered yet, and that its claim is still valid."""
        now_ms = self._world.database.now_ms()
        for task_key, generation, endpoint, _, state, outcome, _, due_at, _, ended_at in self._connection.execute(
            _DELIVERIES
        ):
            if DeliveryKey(task_key, generation, endpoint, ended_at).id != message_id:
                continue
            if outcome == "delivered" or (state and due_at <= now_ms):
                raise InvariantBroken(f"{message_id} was sent by somebody whose time for it was over")

    def _is_of(self, message_id: str, end: _End) -> bool:
        named = (DeliveryKey(end.task_key, end.generation, key, end.finished_at) for key in self._keys)
        return any(key.id == message_id for key in named)

    # --- at the end -------------------------------------------------------------------------------------

    async def all_sent(self) -> None:
        """Once faults have stopped, wait until no delivery is left to send, and check how all have ended.

        Raises InvariantBroken if a delivery is left after `SENT_SECONDS_MOST`.
        """
        deadline = self._world.loop.now() + SENT_SECONDS_MOST
        while left := [row for row in self._connection.execute(_DELIVERIES).fetchall() if row[4] != 0]:
            if self._world.loop.now() > deadline:
                raise InvariantBroken(f"not told {SENT_SECONDS_MOST} s after the last fault: {left[0]}")
            await asyncio.sleep(10)
        self.check()

    def check(self) -> None:
        """Check each webhook delivery's recorded outcome: accepted, endpoint gone, or failed for a day."""
        rows = self._connection.execute(_DELIVERIES).fetchall()
        self._look_for_lost({tuple(row[:3]) for row in rows})
        for task_key, generation, endpoint, _, _, outcome, _, _, begun_at, ended_at in rows:
            message_id = DeliveryKey(task_key, generation, endpoint, ended_at).id
            self.judged[f"deliveries {outcome}"] += 1
            if outcome not in tuple(DeliveryOutcome):
                raise InvariantBroken(f"{message_id} has ended as {outcome}")
            if outcome == "delivered" and message_id not in self.taken:
                raise InvariantBroken(f"{message_id} counts as delivered, and nobody took it")
            age_ms = self._world.database.now_ms() - begun_at
            if outcome == "exhausted" and age_ms < 1000 * limits.DELIVERY_SECONDS_MOST:
                raise InvariantBroken(f"{message_id} was given up before a day was over")
            gone = self._connection.execute(
                "SELECT 1 FROM webhook_endpoints WHERE id = ? AND disabled_at IS NULL", (endpoint,)
            ).fetchone()
            if outcome == "gone" and gone is not None:
                raise InvariantBroken(f"{message_id} was given up, and its endpoint is there")
