"""The clients of batches: each uploads a file, starts a batch over it, and then does what its `BatchSpec` says."""

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any

from simulator.campaign.clients import responses, tenants
from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.batches.readers import READ_SECONDS_MOST, Lines, Reader
from simulator.campaign.clients.batches.specs import content, request
from simulator.campaign.clients.batches.uploads import PAUSE_SECONDS, TRIES_MOST, form, upload
from simulator.campaign.clients.clients import Clients
from simulator.campaign.clients.request_limit import is_refusal
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.world import World
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey, batch_id, split_task_key

PATH = "/v1/batches"
FOLLOWED_SECONDS_MOST = 240.0  # How many seconds a client polls its batch while faults last.
OVER = frozenset({"completed", "failed", "expired", "cancelled"})


class BatchClients:
    """All clients of batches of one world. `stored` are the lines that the database has of each batch."""

    def __init__(self, world: World, clients: Clients, rng: Random, stored: Lines, new_tag: Callable[[], str]) -> None:
        self.readers: list[Reader] = []
        self._world = world
        self._clients = clients
        self._rng = rng
        self._stored = stored
        self._new_tag = new_tag

    async def play(self, spec: BatchSpec) -> None:
        """Upload the file of `spec`, start its batch, and act as `spec` says."""
        await asyncio.sleep(spec.at)
        file_id = await self._upload(spec)
        task_key = None if file_id is None else await self._start(spec, file_id)
        if task_key is None:
            return
        reading = []
        for _ in range(spec.readers):
            reader = Reader(self._world, self._clients.fetch, task_key, self._stored)
            self.readers.append(reader)
            reading.append(asyncio.ensure_future(reader.follow(READ_SECONDS_MOST)))
        began = self._world.loop.now()
        for after, action in spec.actions:
            await asyncio.sleep(max(0.0, began + after - self._world.loop.now()))
            await self._act(spec, action, task_key)
        await self._see_it_end(spec, task_key)
        await asyncio.gather(*reading)

    async def see_the_end(self) -> None:
        """Once faults have stopped, let the readers read the rest."""
        for reader in self.readers:
            await reader.see_the_end()

    async def _upload(self, spec: BatchSpec) -> str | None:
        """Upload the file, again if no answer comes. Returns its id, None if it is refused."""
        pieces = form(content(spec, self._new_tag()), "batch", spec.file_seconds)
        return await upload(self._clients.fetch, self._key(spec), pieces)

    async def _start(self, spec: BatchSpec, file_id: str) -> TaskKey | None:
        """Start the batch, again if no answer comes, as OpenAI's SDKs do. Returns its key, None if it is refused."""
        wish = request(spec, file_id, self._new_tag())
        for count in range(TRIES_MOST):
            reply = await self._clients.fetch(self._sending(spec, wish, file_id, count))
            if reply is None or reply.status == 503:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if reply.status != 200:
                return None
            task_key = responses.key_of(spec.tenant, json.loads(reply.body)["id"])
            self._clients.answered.add(task_key)
            return task_key
        return None

    def _sending(self, spec: BatchSpec, wish: dict[str, Any], file_id: str, count: int) -> ClientRequest:
        """Make a send of a request. If the network repeats one without a key, the repeat is a wish of its own."""
        headers = self._key(spec)
        if spec.idempotent:
            headers["idempotency-key"] = f"key-{wish['metadata']['wish']}"
            return ClientRequest("POST", PATH, lambda: wish, headers)
        first = iter([wish])
        counted = headers | {responses.COUNT: str(count)}
        return ClientRequest(
            "POST", PATH, lambda: next(first, None) or request(spec, file_id, self._new_tag()), counted
        )

    async def _see_it_end(self, spec: BatchSpec, task_key: TaskKey) -> None:
        """Poll the batch until it has ended or is gone, or for FOLLOWED_SECONDS_MOST."""
        until = self._world.loop.now() + FOLLOWED_SECONDS_MOST
        while self._world.loop.now() < until:
            reply = await self._act(spec, "poll", task_key)
            if reply is not None and (
                reply.status == 404 or (reply.status == 200 and json.loads(reply.body)["status"] in OVER)
            ):
                return
            await asyncio.sleep(self._rng.uniform(8, 30))

    async def _act(self, spec: BatchSpec, action: str, task_key: TaskKey) -> Reply | None:
        """Let the client do one thing with its batch."""
        tenant, task_id = split_task_key(task_key)
        own, headers = f"{PATH}/{batch_id(task_id)}", self._key(spec)
        if action == "intrude":
            return await self._intrude(tenant, own)
        if action in {"delete_input", "delete_output"}:
            return await self._delete_file(spec, own, "input_file_id" if action == "delete_input" else "output_file_id")
        if action in {"retry", "delete", "native"}:
            self._clients.interfered |= action == "delete"
            method = {"retry": "POST", "delete": "DELETE", "native": "GET"}[action]
            path = f"/api/tasks/{task_id}{'/retry' if action == 'retry' else ''}"
            reply = await self._clients.fetch(ClientRequest(method, path, headers=headers))
            if action == "retry" and reply is not None and reply.status == 202:
                self._clients.answered.add(responses.key_of(tenant, json.loads(reply.body)["id"]))
            return reply
        if action == "cancel":
            self._clients.interfered = True
            return await self._clients.fetch(ClientRequest("POST", f"{own}/cancel", headers=headers))
        path = f"{PATH}?limit=3" if action == "list" else own
        return await self._clients.fetch(ClientRequest("GET", path, headers=headers))

    async def _delete_file(self, spec: BatchSpec, own: str, name: str) -> Reply | None:
        """Delete a file of the batch, which is refused as long as the batch reads or writes it."""
        reply = await self._clients.fetch(ClientRequest("GET", own, headers=self._key(spec)))
        if reply is None or reply.status != 200 or not json.loads(reply.body)[name]:
            return reply
        path = f"/v1/files/{json.loads(reply.body)[name]}"
        return await self._clients.fetch(ClientRequest("DELETE", path, headers=self._key(spec)))

    async def _intrude(self, tenant: str, own: str) -> Reply | None:
        """Let another tenant read or cancel a batch, and check that this tenant does not find it."""
        others = [other for other in tenants.TENANTS if other != tenant]
        method, path = self._rng.choice((("GET", own), ("POST", f"{own}/cancel")))
        reply = await self._clients.fetch(ClientRequest(method, path, headers=tenants.headers(others[0])))
        if reply is not None and reply.status not in {401, 404, 503} and not is_refusal(reply):
            raise InvariantBroken(f"{method} {path} by another tenant was answered with {reply.status}")
        return reply

    def _key(self, spec: BatchSpec) -> dict[str, str]:
        return tenants.headers(spec.tenant)
