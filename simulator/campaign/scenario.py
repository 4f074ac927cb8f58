"""Plays a workload against a world: clients, operators, cron; then faults stop, and everything must come to rest."""

import asyncio
import json
from random import Random
from typing import Any

from simulator.campaign import tenants as keys
from simulator.campaign.adapter import ClientRequest
from simulator.campaign.end_checks import Circumstances, check_task
from simulator.campaign.invariants import Books
from simulator.campaign.request_limit import STATUS_PATHS, is_refusal
from simulator.campaign.row_changes import InvariantBroken
from simulator.campaign.small_limits import MAX_ATTEMPTS, variables
from simulator.campaign.workload import ACTIONS, DEPLOYMENTS, SHORT_RETENTION_DAYS, Change, TaskSpec, Workload
from simulator.engine.fault_kinds import RATE_LIMITER
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.choices import TOP
from simulator.platform.world import ClientError, World
from src.core.ids import split_task_key, task_key_of
from src.http.ports import Reply

CRON_SECONDS = 30
PATIENCE_SECONDS = 60  # of a client with one request
TERMINAL_SECONDS_MOST = 900  # after the last fault every task has ended
OVERDUE_SECONDS_MOST = 4 * CRON_SECONDS  # after the last fault: from a deadline until the sweep has ended the task
QUIET_SECONDS_MOST = 1_500  # and then nothing runs, waits or is stored in an object
SUBMITS_MOST = 3
REFUSALS_MOST = 5  # of one request by the limit of requests: then its client gives up


class Play:
    """One run's clients and operators, and what they know."""

    def __init__(self, world: World, workload: Workload, rng: Random, *, crashes: bool = False) -> None:
        self.world = world
        self.workload = workload
        self.books = Books(world, max_attempts=MAX_ATTEMPTS)
        self.answered: set[str] = set()  # keys of tasks that a client got with a 202
        self.gave_up = False  # some client, on the limit of requests
        self.interfered = crashes  # by planned crashes, clients or operators
        self._rng = rng
        world.model.number_outputs = True
        world.model.timeout_seconds = 20
        world.model.refuses = lambda call: call.user.startswith("x")
        world.database.meter_reads = False
        if workload.keyed:
            keys.install(world.database.connection, world.now_ms())
        if workload.queue_fate:
            world.queue.faults = Persistent(world.faults, workload.queue_fate)  # type: ignore[assignment]

    # --- clients ------------------------------------------------------------------------------------------

    async def fetch(self, request: ClientRequest) -> Reply | None:
        """Send a request, again after a refusal by the limit of requests; None when there is no answer."""
        for _ in range(REFUSALS_MOST):
            reply = await self._fetch_once(request)
            if reply is None or not is_refusal(reply):
                return reply
            await asyncio.sleep(int(reply.headers["Retry-After"]))
        self.gave_up = True
        return reply

    async def _fetch_once(self, request: ClientRequest) -> Reply | None:
        """Send a request; None when there is no answer within a client's patience."""
        asked = asyncio.ensure_future(self.world.fetch(request))
        asked.add_done_callback(_look_at_error)
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE_SECONDS)
        if not done or isinstance(asked.exception(), ClientError):
            return None
        reply: Reply = asked.result()
        if reply.status == 500:
            raise InvariantBroken(f"{request.method} {request.url} was answered with {reply.body}")
        return reply

    async def client(self, spec: TaskSpec) -> None:
        """Submit, again if no answer comes, and then do what the client does."""
        await asyncio.sleep(spec.at)
        request = self._request(spec)
        twin = asyncio.ensure_future(self._submit(spec, request)) if spec.twin else None
        key = await self._submit(spec, request)
        if twin is not None:
            key = await twin or key
        if spec.other:
            await self._submit(spec, self._other(spec, request), attempts=2)
        if key is None:
            return
        started = self.world.loop.time()
        for after, action in spec.actions:
            await asyncio.sleep(max(0.0, started + after - self.world.loop.time()))
            await self.act(action, key)

    async def _submit(self, spec: TaskSpec, request: ClientRequest, attempts: int = SUBMITS_MOST) -> str | None:
        """Submit until it is answered for good; the task's key, None if there is none."""
        for _ in range(attempts):
            reply = await self.fetch(request)
            if reply is None or reply.status == 503:
                continue
            if reply.status != 202:
                return None
            key = task_key_of(spec.tenant, json.loads(reply.body)["id"])
            self.answered.add(key)
            return key
        return None

    def _request(self, spec: TaskSpec) -> ClientRequest:
        """The client's request: the same each time under one key, one of its own each time without."""
        headers = keys.headers(spec.tenant)
        if not spec.idempotent:
            return ClientRequest("POST", "/api/tasks", lambda: spec.body(self.books.new_tag()), headers)
        body = spec.body(self.books.new_tag())
        headers = headers | {"idempotency-key": f"key-{body['instructions']}"}
        return ClientRequest("POST", "/api/tasks", lambda: body, headers)

    def _other(self, spec: TaskSpec, request: ClientRequest) -> ClientRequest:
        """Another request under the same key, another one each time."""
        return ClientRequest("POST", "/api/tasks", lambda: spec.body(self.books.new_tag()), request.headers)

    async def act(self, action: str, key: str) -> Reply | None:
        """Have a client do something to a task."""
        tenant, task_key = split_task_key(key)
        path, headers = f"/api/tasks/{task_key}", keys.headers(tenant)
        if action == "intrude":
            return await self._intrude(tenant, path)
        if action in {"cancel", "retry"}:
            self.interfered = True
            return await self.fetch(ClientRequest("POST", f"{path}/{action}", headers=headers))
        if action == "delete":
            self.interfered = True
            return await self.fetch(ClientRequest("DELETE", path, headers=headers))
        status = self._rng.choice(STATUS_PATHS) if action == "status" else ""
        paths = {"poll": f"{path}?wait=3", "chunks": f"{path}/chunks", "list": "/api/tasks?limit=3", "status": status}
        return await self.fetch(ClientRequest("GET", paths[action], headers=headers))

    async def _intrude(self, tenant: str, path: str) -> Reply | None:
        """Have another tenant do something to the task, which to it is not there."""
        others = [other for other in keys.TENANTS if other != tenant]
        method, path = self._rng.choice(
            (("GET", path), ("POST", f"{path}/cancel"), ("POST", f"{path}/retry"), ("DELETE", path))
        )
        reply = await self.fetch(ClientRequest(method, path, headers=keys.headers(others[0])))
        if reply is not None and reply.status not in {404, 503} and not is_refusal(reply):
            raise InvariantBroken(f"{method} {path} by another tenant was answered with {reply.status}")
        return reply

    # --- operators ----------------------------------------------------------------------------------------

    async def change(self, change: Change) -> None:
        """Put another deployment in place."""
        await asyncio.sleep(change.at)
        self.interfered = True
        self.world.variables = self._variables(change.concurrency)
        if change.restart:
            self.world.deployment = change.deployment
            self.world.restart(lose_queue=change.lose_queue)
        else:
            self.world.deploy(change.deployment, lose_queue=change.lose_queue, kill=change.kill)

    async def trouble(self) -> None:
        """Offer the faults that only users and operators cause, every now and then while faults last."""
        world, rng = self.world, self._rng
        while world.faults.active:
            await asyncio.sleep(rng.uniform(0.5, 6))
            if world.faults.fires("upgraded", "operator"):
                world.variables = self._variables(rng.choice((1, 3, 6)))
                world.deploy(rng.choice((world.deployment, *DEPLOYMENTS)), kill=rng.random() < 0.5)
            if self.answered and world.faults.fires("user_raced", "client"):
                task_key = rng.choice(sorted(self.answered))
                both = [self.act(rng.choice(ACTIONS[:3]), task_key) for _ in range(rng.choice((1, 1, 2)))]
                await asyncio.gather(*both)

    def _variables(self, concurrency: int = 3) -> dict[str, str]:
        workload = self.workload
        chosen = variables(
            plan=workload.plan,
            concurrency=concurrency,
            retention_days=workload.retention_days,
            keyed=workload.keyed,
        )
        return chosen | workload.variables

    # --- the whole ----------------------------------------------------------------------------------------

    async def run(self, world: World) -> None:
        """Play it all; raises InvariantBroken or NotQuiet."""
        if self.workload.cron:
            world.start_cron(CRON_SECONDS)
        parts = [self.client(spec) for spec in self.workload.tasks]
        parts += [self.change(change) for change in self.workload.changes]
        trouble = asyncio.ensure_future(self.trouble())
        trouble.add_done_callback(_look_at_error)
        await asyncio.gather(*parts)
        await asyncio.sleep(self._rng.uniform(1, 20))
        world.faults.stop()
        if world.deployment is not self.workload.last:
            self.interfered = True
            world.deploy(self.workload.last)
        await trouble
        await self.all_ended()
        self.check()
        if world.deployment is not TOP:
            world.deploy(TOP)  # objects that slept through a deployment without them must clean up, too
        while True:
            await world.quiet(QUIET_SECONDS_MOST, look_every=30)
            if all(row.terminal for row in self.books.rows.values()):
                break
            await self.all_ended()  # a request that had stood still brought another task
        self.check()
        if self.workload.cron and self.workload.retention_days <= SHORT_RETENTION_DAYS:
            await asyncio.sleep(self.workload.retention_days * 86_400 + 10 * CRON_SECONDS)
            if self.books.rows:
                raise InvariantBroken(f"{len(self.books.rows)} tasks are kept beyond their retention")
        self._check_nothing_is_left()

    async def all_ended(self) -> None:
        """Wait until every task has ended; raises InvariantBroken when it takes too long."""
        began = self.world.loop.time()
        # A queue that never works again leaves it all to the sweep, which comes less and less often.
        patience = TERMINAL_SECONDS_MOST * (2 if self.workload.queue_fate else 1)
        deadline = began + patience
        while not all(row.terminal for row in self.books.rows.values()):
            if self.world.loop.time() > deadline:
                left = [f"{row.id} is {row.status}" for row in self.books.rows.values() if not row.terminal]
                raise InvariantBroken(f"lost, {patience} s after the last fault: {', '.join(left)}")
            self._check_overdue(self.world.loop.time() - began)
            await asyncio.sleep(2)

    def _check_overdue(self, quiet_seconds: float) -> None:
        """A task ends soon after its deadline, unless all isolates stand still that could see to it."""
        if not self.workload.cron or "worker_frozen" in self.circumstances().fired:
            return
        now_ms = self.world.database.now_ms()
        for row in self.books.rows.values():
            if not row.terminal and row.deadline_at is not None:
                seconds = min(quiet_seconds, (now_ms - row.deadline_at) / 1000)
                if seconds > OVERDUE_SECONDS_MOST:
                    raise InvariantBroken(f"{row.id} is {row.status}, {seconds:.0f} s after its deadline")

    # --- verdict ------------------------------------------------------------------------------------------

    def circumstances(self) -> Circumstances:
        """What struck so far."""
        fired = {name for name, tally in self.world.faults.tallies.items() if tally.fired}
        return Circumstances(frozenset(fired), self.interfered)

    def check(self) -> None:
        """Hold every task, and all of them together, to what was promised."""
        books = self.books
        circumstances = self.circumstances()
        for row in books.rows.values():
            check_task(books, self.world, row, circumstances)
        limited = books.shares.limited or self.gave_up
        if not circumstances.fired - RATE_LIMITER and not limited and len(self.answered) < len(self.workload.tasks):
            raise InvariantBroken("a submission was not accepted, and nothing stood in its way")
        for task_key in self.answered - books.rows.keys() - books.gone.keys():
            raise InvariantBroken(f"{task_key} was accepted and never was in the database")
        for task_key in books.gone:
            if books.reached[books.tags[task_key]] > books.sent(books.tags[task_key]):
                raise InvariantBroken(f"{task_key}: erased, and called for beyond what was announced")
        if len(books.rows) + len(books.gone) != len(books.tags):
            raise InvariantBroken("counts by state do not add up to what was accepted")

    def _check_nothing_is_left(self) -> None:
        self.books.check_orphans()
        for cell in self.world.object_cells():
            # Once the platform has dropped an object's alarm, nothing of ours runs in it until somebody calls it.
            if not cell.data.is_empty() and not cell.alarm.dropped:
                raise InvariantBroken(f"{cell.namespace.class_name}/{cell.name} holds storage or an alarm")
        mistakes: list[str] = getattr(self.world.app, "mistakes")  # noqa: B009 - the app is ours, the world knows any
        if mistakes:
            raise InvariantBroken(f"the Worker met an error that nothing outside it explains: {mistakes[0]}")


class Persistent:
    """A fault plan in which one fault always strikes at once, and goes on after faults have stopped."""

    active = True

    def __init__(self, plan: FaultPlan, fault: str) -> None:
        self._plan = plan
        self._fault = fault

    def fires(self, name: str, actor: str = "", scale: float = 1.0) -> bool:
        """Strike with the one fault; leave the others to the plan."""
        return self._plan.strike(name, actor) if name == self._fault else self._plan.fires(name, actor, scale)

    def between(self, low: float, high: float) -> float:
        """Give the least."""
        return low

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)


def _look_at_error(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
