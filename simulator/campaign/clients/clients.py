"""The clients of a run: each submits its task, again if no answer comes, and then does what its `TaskSpec` says."""

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any

from simulator.campaign.clients import forms, responses, tenants
from simulator.campaign.clients.batches.file_texts import FileTextClients, body_with
from simulator.campaign.clients.followers import FOLLOWED_SECONDS_MOST, StreamClient
from simulator.campaign.clients.menders import mend
from simulator.campaign.clients.request_limit import STATUS_PATHS, is_refusal
from simulator.campaign.clients.response_followers import ResponseFollower
from simulator.campaign.clients.workload import TaskSpec
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import ClientError, World
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey, split_task_key

PATIENCE_SECONDS = 60  # how many seconds a client waits for the answer to one request
SUBMITS_MOST = 3
LONG_POLL_SECONDS = 25.0
SHORT_POLLS_SECONDS = 3_600  # For so long a client polls as its request says, and then with LONG_POLL_SECONDS.
# The seconds within which a task that is polled all the time must end. If no short poll can start a call, a task whose
# text is poisoned fails only when it has waited for its model, from the first long poll on.
POLLED_SECONDS_MOST = 10_800
# A function that makes a client's request; its argument is how often the client has sent the request before.
type Sendings = Callable[[int], ClientRequest]
REFUSALS_MOST = 5  # After this many refusals of one request by the limiter, its client gives up.


class Clients:
    """All clients of one world. `new_tag` makes the tag by which the model's records identify a request."""

    def __init__(self, world: World, rng: Random, new_tag: Callable[[], str]) -> None:
        self.answered: set[TaskKey] = set()  # Tasks that a client knows by an answer with 200 or 202.
        self.responses: set[TaskKey] = set()  # The tasks in `answered` that came through `/v1`.
        self.gave_up = False  # True if some client gave up at the limit of requests.
        self.interfered = False  # True if some client cancelled, retried or erased a task.
        self.mended: dict[TaskKey, TaskKey] = {}  # Tasks that make gaps of others, which clients were told of.
        self.followers: list[StreamClient] = []
        self.mixed = False  # True if some isolates are of an older release, which does not know schemas.
        self._world = world
        self._rng = rng
        self._new_tag = new_tag
        self._texts = FileTextClients(self.fetch)

    async def fetch(self, request: ClientRequest) -> Reply | None:
        """Send a request, and send it again after each refusal by the limit of requests.

        Returns None if no answer comes within a client's patience.
        """
        for _ in range(REFUSALS_MOST):
            reply = await self._fetch_once(request)
            if reply is None or not is_refusal(reply):
                return reply
            await asyncio.sleep(int(reply.headers["Retry-After"]))
        self.gave_up = True
        return reply

    async def _fetch_once(self, request: ClientRequest) -> Reply | None:
        """Send a request once. Returns None if no answer comes within a client's patience."""
        asked = asyncio.ensure_future(self._world.fetch(request))
        asked.add_done_callback(look_at_error)
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE_SECONDS)
        if not done or isinstance(asked.exception(), ClientError):
            return None
        reply: Reply = asked.result()
        if reply.status == 500:
            raise InvariantBroken(f"{request.method} {request.url} was answered with {reply.body}")
        return reply

    async def play(self, spec: TaskSpec) -> None:
        """Submit the task of `spec`, again if no answer comes. After the submission, the client acts as `spec` says."""
        await asyncio.sleep(spec.at)
        file_id = await self._texts.upload(spec) if spec.text_in_file else None
        if spec.text_in_file and file_id is None:
            return
        request = self._sendings(spec, file_id)
        twin = asyncio.ensure_future(self._submit(spec, request)) if spec.twin else None
        task_key = await self._submit(spec, request)
        if twin is not None:
            task_key = await twin or task_key
        if spec.other:
            other = self._other(spec, request(0), file_id)
            await self._submit(spec, lambda _count: other, attempts=2)
        if task_key is None:
            return
        if file_id is not None:
            self._texts.accepted(task_key, spec)
            if spec.drops_file:
                await self._texts.delete(spec, file_id)
        kinds = (ResponseFollower if spec.response else StreamClient, StreamClient)
        following = [asyncio.ensure_future(self._follow(kind, task_key)) for kind in kinds[: spec.followed]]
        started = self._world.loop.now()
        for after, action in spec.actions:
            await asyncio.sleep(max(0.0, started + after - self._world.loop.now()))
            await self.act(action, task_key)
        if spec.drops_file and file_id is not None:
            await self._texts.delete(spec, file_id)
        if spec.polled is not None:
            await self._see_it_end(task_key, spec.polled)
        await asyncio.gather(*following)

    async def _follow(self, kind: type[StreamClient], task_key: TaskKey) -> None:
        """Let a client follow a task by its events for up to `FOLLOWED_SECONDS_MOST`."""
        follower = kind(self._world, self.fetch, task_key)
        follower.mixed = self.mixed
        self.followers.append(follower)
        await follower.follow(FOLLOWED_SECONDS_MOST)

    async def _see_it_end(self, task_key: TaskKey, wait_seconds: float) -> None:
        """Poll until the task has ended or is gone. Raises InvariantBroken after `POLLED_SECONDS_MOST`.

        After `SHORT_POLLS_SECONDS` the client uses longer polls: if each answer of the database takes a second, a poll
        of three seconds ends before it can start a merge call.
        """
        tenant, task_id = split_task_key(task_key)
        began = self._world.loop.now()
        while True:
            held = wait_seconds if self._world.loop.now() - began < SHORT_POLLS_SECONDS else LONG_POLL_SECONDS
            path = f"/api/tasks/{task_id}?wait={held}"
            reply = await self.fetch(ClientRequest("GET", path, headers=tenants.headers(tenant)))
            if reply is not None and (
                reply.status == 404 or (reply.status == 200 and json.loads(reply.body)["terminal"])
            ):
                return
            if self._world.loop.now() - began > POLLED_SECONDS_MOST:
                raise InvariantBroken(f"{task_key} has not ended, though it was polled for {POLLED_SECONDS_MOST} s")
            await asyncio.sleep(1 if reply is None else int(reply.headers.get("Retry-After", 1)))

    async def _submit(self, spec: TaskSpec, request: Sendings, attempts: int = SUBMITS_MOST) -> TaskKey | None:
        """Submit a task until a final answer comes. Returns the task's key, or None if the client knows of no task."""
        for count in range(attempts):
            if count and spec.response:
                await asyncio.sleep(responses.PAUSE_SECONDS)
            reply = await self.fetch(request(count))
            if reply is None or reply.status == 503:
                continue
            if reply.status != (200 if spec.response else 202):
                return None
            task_key = responses.key_of(spec.tenant, json.loads(reply.body)["id"])
            self.answered.add(task_key)
            if spec.response:
                self.responses.add(task_key)
            return task_key
        return None

    def _sendings(self, spec: TaskSpec, file_id: str | None) -> Sendings:
        """Return a function that makes each send of a client's request.

        All sends of a request with an idempotency key are the same. Each send of a request to `/api/tasks` without a
        key has its own tag.
        """
        if spec.response:
            return responses.sendings(spec, self._new_tag)

        def make(tag: str) -> dict[str, Any]:
            return body_with(forms.body(spec, tag), file_id)

        headers = tenants.headers(spec.tenant)
        if not spec.idempotent:
            request = ClientRequest("POST", "/api/tasks", lambda: make(self._new_tag()), headers)
            return lambda _count: request
        body = make(self._new_tag())
        keyed = ClientRequest(
            "POST", "/api/tasks", lambda: body, headers | {"idempotency-key": f"key-{body['instructions']}"}
        )
        return lambda _count: keyed

    def _other(self, spec: TaskSpec, request: ClientRequest, file_id: str | None) -> ClientRequest:
        """Make a request with the same idempotency key as another one, and with a different body at each send."""
        if spec.response:
            return ClientRequest("POST", responses.PATH, lambda: responses.body(spec, self._new_tag()), request.headers)
        return ClientRequest(
            "POST", "/api/tasks", lambda: body_with(forms.body(spec, self._new_tag()), file_id), request.headers
        )

    async def act(self, action: str, task_key: TaskKey) -> Reply | None:
        """Let a client do one action with a task, for example cancel or poll it."""
        tenant, task_id = split_task_key(task_key)
        path, headers = f"/api/tasks/{task_id}", tenants.headers(tenant)
        if action == "intrude":
            return await self._intrude(tenant, path)
        if action == "mend":
            return await mend(self, self._world, self._rng, task_key)
        own = responses.path_of(task_key) if task_key in self.responses else path
        if action in {"cancel", "retry"}:
            self.interfered = True
            whose = own if action == "cancel" else path  # `/v1` has no retry of a task.
            return await self.fetch(ClientRequest("POST", f"{whose}/{action}", headers=headers))
        if action == "delete":
            self.interfered = True
            return await self.fetch(ClientRequest("DELETE", own, headers=headers))
        status = self._rng.choice(STATUS_PATHS) if action == "status" else ""
        poll = f"{path}?wait=3" if own is path else own
        paths = {"poll": poll, "chunks": f"{path}/chunks", "list": "/api/tasks?limit=3", "status": status}
        reply = await self.fetch(ClientRequest("GET", paths[action], headers=headers))
        if action == "poll":
            self._texts.told(task_key, reply)
        return reply

    async def _intrude(self, tenant: str, path: str) -> Reply | None:
        """Let another tenant read, cancel, retry or erase a task, and check that this tenant does not find the task."""
        others = [other for other in tenants.TENANTS if other != tenant]
        method, path = self._rng.choice(
            (("GET", path), ("POST", f"{path}/cancel"), ("POST", f"{path}/retry"), ("DELETE", path))
        )
        reply = await self.fetch(ClientRequest(method, path, headers=tenants.headers(others[0])))
        if reply is not None and reply.status not in {404, 503} and not is_refusal(reply):
            raise InvariantBroken(f"{method} {path} by another tenant was answered with {reply.status}")
        return reply


def look_at_error(future: asyncio.Future[Any]) -> None:
    """Retrieve the error of a future that no code awaits any more, so that asyncio does not report the error."""
    if not future.cancelled():
        future.exception()
