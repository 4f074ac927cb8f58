"""Checks that what happens to a task agrees with the answers that its client got.

The module checks four promises: no call starts after a cancellation's 200, no accepted task is withdrawn, no call
starts after a deadline, and no answer shows another tenant's task. The module sees model calls when they leave an
isolate, and answers when they leave a handler. The Worker would catch an exception in its isolate, so a broken promise
is raised outside the isolate.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from simulator.campaign.clients import responses
from simulator.campaign.clients.request_limit import RequestLimit
from simulator.campaign.clients.tenants import tenant_of
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.api.base.messages import Reply
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.store.admission import WITHDRAW

if TYPE_CHECKING:
    from simulator.campaign.checks.invariants import Invariants
    from simulator.campaign.subject.arrivals import Arrival
    from simulator.platform.world import World

_BATCHES = "/v1/batches"
_SUBMISSIONS = ("/api/tasks", responses.PATH, _BATCHES)
_CANCELLED = frozenset({"cancelled", "cancelling"})


class ClientPromises:
    """The promises that the clients of one world got.

    `accepted` has the keys of the tasks that were answered with 200 or 202.
    """

    def __init__(self, world: World, invariants: Invariants) -> None:
        self.accepted: set[TaskKey] = set()
        self.stopped: dict[TaskKey, str] = {}  # By task: the answer after which no model call may start.
        self.told: Counter[str] = Counter()  # The number of answers to clients, by kind.
        self._world = world
        self._invariants = invariants
        self._arrivals: Counter[str] = Counter()  # Arrivals of requests by tag.
        # By a request's tag: the highest retry count of its sends, and the time of its last arrival in virtual seconds.
        self._sendings: dict[str, tuple[int, float]] = {}
        self.overtaken: set[str] = set()  # Tags of requests of which a send arrived with or after a later send.
        self._request_limit = RequestLimit(world, self._broken)
        self._mismatched: set[str] = set()  # Tags of requests answered with `idempotency_mismatch`.
        self._withdrawing: set[TaskKey] = set()
        self._taken_back: set[TaskKey] = set()
        self._offsets: dict[TaskKey, float] = {}  # The lowest offset of the database's clock at a task's claims.
        self._offset_ms = world.database.offset_ms
        self._jumped_at = -math.inf
        self._serve = world.database.serve
        world.database.serve = self._served  # type: ignore[method-assign]
        world.model.starting = self._starting
        world.app.watcher = self  # type: ignore[attr-defined]

    def _broken(self, what: str) -> None:
        loop = self._world.loop
        loop.call_soon(_raise, InvariantBroken(what), context=loop.outside)

    # --- the database ------------------------------------------------------------------------------------

    def _served(self, statements: Any, reply: Any, latency: Any) -> None:
        for statement in statements:
            if statement.sql == WITHDRAW.sql:
                self._withdrawing.add(statement.values[0])
        self._serve(statements, reply, latency)

    def look_at_clock(self) -> None:
        """Record a forward jump of the database's clock."""
        offset = self._world.database.offset_ms
        if offset > self._offset_ms:
            self._jumped_at = self._world.loop.now()
        self._offset_ms = offset

    def born(self, task_key: TaskKey, tag: str) -> None:
        """Check that a task that was just written is allowed to exist.

        A new task is not allowed if its client was told that another request has the idempotency key. If the client
        sent its request again, the new task is allowed: the key may be free because the key's first task was erased.
        """
        if tag in self._mismatched and self._arrivals[tag] == 1:
            raise InvariantBroken(f"{task_key}: accepted, and its client was told that the key is another request's")

    def may_be_doubled(self, tag: str, submission: str | None) -> bool:
        """Whether an isolate may have taken two sends of one `/v1` request for two requests.

        An isolate may take two sends for two requests if its clock is wrong, or if an earlier send arrived late, or
        stood in a frozen isolate until a later send had become a task. An isolate does not take two sends for two
        requests if they have an idempotency key; the `submission` of such a request has no space.
        """
        if submission is None or " " not in submission:
            return False
        tallies, excuses = self._world.faults.tallies, ("clock_skewed", "clock_jumped", "worker_frozen")
        return tag in self.overtaken or any(tallies[name].fired for name in excuses)

    def taken_back(self, task_key: TaskKey) -> None:
        """Record that a task was withdrawn because its submission failed, not because a client erased it."""
        self._taken_back.add(task_key)
        if task_key in self.accepted:
            raise InvariantBroken(f"{task_key}: answered with 202, and taken back")

    def claimed(self, task_key: TaskKey) -> None:
        """Record the database clock's offset at a claim, by which the worker computes how much time its task has left.

        The worker cannot know of jumps of the database's clock that come after its claim.
        """
        self._offsets[task_key] = min(self._offsets.get(task_key, math.inf), self._offset_ms)

    def put_back(self, task_key: TaskKey) -> None:
        """Record a client's retry of a task: its calls may start again, and its deadline is a new one."""
        self.stopped.pop(task_key, None)
        self._offsets.pop(task_key, None)

    # --- calls -------------------------------------------------------------------------------------------

    def _starting(self, call: ModelCall, sender: str) -> None:
        self.look_at_clock()
        tag = tag_of(call)
        if self._invariants.is_doubled(tag):
            return  # If the request became two tasks, the call's task is unknown.
        task_key = self._invariants.born[tag][-1]
        said = self.stopped.get(task_key)
        # If the database's clock jumps after calls were announced, a cancellation finds that they can no longer start.
        if said is not None and self._world.loop.now() >= self._jumped_at + limits.START_SECONDS_MOST:
            self._broken(f"{task_key}: a call started on {sender} after {said}")
        row = self._invariants.rows.get(task_key)
        if row is not None and row.deadline_at is not None:
            now_ms = self._world.now_ms() + self._offsets.get(task_key, self._offset_ms)
            # The database's clock counts whole milliseconds, so a call that starts within the deadline's millisecond
            # is allowed.
            if now_ms > row.deadline_at:
                self._broken(
                    f"{task_key}: a call started on {sender} {now_ms - row.deadline_at:.0f} ms after its deadline"
                )

    # --- answers -----------------------------------------------------------------------------------------

    def arrived(self, arrival: Arrival) -> None:
        """Record when a request came and how often its task had been retried, for the judgement of its answer."""
        arrival.came_at = self._world.loop.now()
        arrival.retries = self._invariants.retries[_task_key(arrival)]

    def read(self, arrival: Arrival) -> None:
        """Count the arrivals of a submission, and record its tag if its sends arrive out of order or almost at once."""
        tag, count = _tag(arrival), responses.count_of(arrival.headers)
        self._arrivals[tag] += 1
        now, (before, at) = self._world.loop.now(), self._sendings.get(tag, (0, -math.inf))
        if count < before or (count > before and now < at + responses.PAUSE_SECONDS):
            self.overtaken.add(tag)
        self._sendings[tag] = max(count, before), now

    def counting(self, arrival: Arrival) -> None:
        """Record that the Worker calls the limiter of requests."""
        self._request_limit.counting(arrival)

    def answered(self, arrival: Arrival, reply: Reply) -> None:
        """Check an answer of the Worker against the promises."""
        if reply.status == 500:
            self._broken(f"{arrival.method} {arrival.url} was answered with {reply.body}")
        told = json.loads(reply.body) if reply.body else {}
        self._check_tenant(arrival, told)
        self.told["limited"] += self._request_limit.answered(arrival, reply, told)
        task_key = _task_key(arrival)
        erased = reply.status == 204 or told.get("object") == "response.deleted"
        if arrival.method == "POST" and arrival.url.endswith(_SUBMISSIONS):
            self._submitted(arrival, reply, told)
        elif erased or (reply.status == 200 and arrival.url.endswith("/cancel") and told["status"] in _CANCELLED):
            self.told["erased" if erased else "cancelled"] += 1
            if arrival.retries == self._invariants.retries[task_key]:
                self.stopped[task_key] = f"a {reply.status} to {arrival.method}"

    def _check_tenant(self, arrival: Arrival, told: dict[str, Any]) -> None:
        tenant = tenant_of(arrival.headers)
        if told.get("object") == "webhook_endpoint.deleted":
            return
        batches = told.get("data", ()) if arrival.url.startswith(f"http://onceover{_BATCHES}") else ()
        for task in [told, *told.get("tasks", ()), *batches]:
            if (
                "id" in task
                and told.get("object") != "file"
                and responses.key_of(tenant, task["id"]) not in self._invariants.tags
            ):
                self._broken(f"{arrival.method} {arrival.url} showed {tenant} {task['id']}, which is not its own")

    def _submitted(self, arrival: Arrival, reply: Reply, told: dict[str, Any]) -> None:
        tag = _tag(arrival)
        born = self._invariants.made.get(tag, [])
        if reply.status in {200, 202}:
            task_key = responses.key_of(tenant_of(arrival.headers), told["id"])
            self.accepted.add(task_key)
            kind = "replay" if arrival.url.endswith(_SUBMISSIONS[0]) or "idempotency-key" in arrival.headers else "join"
            self.told[kind] += "Idempotency-Replayed" in reply.headers
            if self._invariants.wishes[task_key] != tag:
                self._broken(f"{task_key}: the answer to {tag}, and made by {self._invariants.wishes[task_key]}")
            if task_key in self._taken_back:
                self._broken(f"{task_key}: taken back, and answered with 202")
        elif self._arrivals[tag] > 1:
            return  # The task may belong to another send of the request.
        elif self._request_limit.refuses(told):
            if born:
                self._broken(f"{born[-1]}: accepted, and refused by the limit of requests")
        elif "idempotency_mismatch" in {told.get("code"), (told.get("error") or {}).get("code")}:
            self.told["mismatch"] += 1
            self._mismatched.add(tag)
            # The submission's write may have landed late, once the key was free, and its task may have been withdrawn
            # before the answer.
            if born and born[-1] not in self._taken_back:
                self._broken(f"{born[-1]}: accepted, and its client was told that the key is another request's")
        elif (
            reply.status == 503
            and born
            and born[-1] in self._invariants.rows
            and born[-1] not in self._withdrawing
            # An isolate that stood still has no time left for the withdrawal when it continues.
            and self._world.faults.tallies["worker_frozen"].last_at < arrival.came_at
        ):
            self._broken(f"{born[-1]}: answered with 503, and nobody tried to take it back")


def tag_of(call: ModelCall) -> str:
    """Return the tag of the task to which a model call belongs."""
    return call.system.rpartition("\n")[2]


def _tag(arrival: Arrival) -> str:
    """Return the name of a request: the `instructions` in its body, or for a batch a name in its metadata.

    The name is empty if the Worker has not read the body.
    """
    body = arrival.body
    tag: str = body["metadata"]["wish"] if "input_file_id" in body else body.get("instructions", "")
    return tag


def _task_key(arrival: Arrival) -> TaskKey:
    """Return the key of the task that a request names, empty if the request names no task."""
    parts = arrival.url.partition("?")[0].split("/")
    return responses.key_of(tenant_of(arrival.headers), parts[5]) if len(parts) > 5 else TaskKey("")


def _raise(error: InvariantBroken) -> None:
    raise error
