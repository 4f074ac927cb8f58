"""Clients that read the output file of a batch by `offset` while it grows, and check what they get."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from simulator.campaign.clients import tenants
from simulator.campaign.subject.arrivals import ClientRequest, StreamedReply
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.platform.binding_port import JsError
from simulator.platform.world import World
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey, batch_id, split_task_key

READ_SECONDS_MOST = 300.0  # How many seconds a client reads a batch's output while faults last.
ENDED_SECONDS_MOST = 900.0  # How many seconds a client reads once faults have stopped.
SILENT_SECONDS = 40.0
PAUSE_SECONDS = 3.0
PAUSE_SECONDS_MOST = 24.0  # The pause of a client doubles while it finds no new line.
PAGE_LINES = 7

type Fetch = Callable[[ClientRequest], Awaitable[Reply | None]]
type Lines = Mapping[TaskKey, Sequence[str]]


async def body_of(reply: Reply) -> bytes | None:
    """Read the bytes of an answer. Returns None if the answer is cut off."""
    if not isinstance(reply, StreamedReply):
        return (reply.body or "").encode()
    received = b""
    try:
        async with aclosing(reply.stream.pieces(SILENT_SECONDS)) as pieces:
            async for piece in pieces:
                received += piece
    except JsError:
        reply.stream.leave()
        return None
    return received if len(received) == int(reply.headers["Content-Length"]) else None


class Reader:
    """One client that reads one batch's output. `stored` are the lines that the database has of each batch."""

    def __init__(self, world: World, fetch: Fetch, task_key: TaskKey, stored: Lines) -> None:
        self.task_key = task_key
        self.lines: list[str] = []
        self.pages = 0
        self._world = world
        self._fetch = fetch
        self._stored = stored
        tenant, task_id = split_task_key(task_key)
        self._headers = tenants.headers(tenant)
        self._batch = f"/v1/batches/{batch_id(task_id)}"
        self._file = ""
        self._over = False

    async def follow(self, seconds: float) -> None:
        """Read until the file is complete, or the batch or its file is gone, or this many seconds have passed."""
        until = self._world.loop.now() + seconds
        pause = PAUSE_SECONDS
        while not self._over and self._world.loop.now() < until:
            pages = self.pages
            if self._file:
                await self._read_page()
            else:
                await self._look()
            await asyncio.sleep(pause)
            pause = PAUSE_SECONDS if self.pages > pages else min(2 * pause, PAUSE_SECONDS_MOST)

    async def see_the_end(self) -> None:
        """Once faults have stopped, read the rest, and compare the whole file with what was read before.

        A tenant at its limit of requests may read one page a minute.
        """
        pages = -1
        while not self._over:
            if self.pages == pages:
                raise InvariantBroken(f"{self.task_key}: its output is not complete for a client that reads it")
            pages = self.pages
            await self.follow(ENDED_SECONDS_MOST)
        if not self._file:
            return
        reply = await self._fetch(ClientRequest("GET", f"/v1/files/{self._file}/content", headers=self._headers))
        whole = None if reply is None or reply.status != 200 else await body_of(reply)
        if whole is not None and whole.decode("ascii").splitlines() != self.lines:
            raise InvariantBroken(f"{self.task_key}: its output file is not what a client read while it grew")

    async def _look(self) -> None:
        """Ask for the batch, until it says which file its output is."""
        reply = await self._fetch(ClientRequest("GET", self._batch, headers=self._headers))
        if reply is None or reply.status not in {200, 404}:
            return
        told = json.loads(reply.body) if reply.status == 200 else {"output_file_id": None, "status": "gone"}
        self._file = told["output_file_id"] or ""
        over = {"gone", "completed", "failed", "expired", "cancelled"}
        self._over = not self._file and told["status"] in over

    async def _read_page(self) -> None:
        path = f"/v1/files/{self._file}/content?offset={len(self.lines)}&limit={PAGE_LINES}"
        reply = await self._fetch(ClientRequest("GET", path, headers=self._headers))
        if reply is None or reply.status not in {200, 400, 404}:
            return
        if reply.status != 200:  # the file is gone, or does not belong to a batch any more
            self._over, self._file = True, ""
            return
        received = await body_of(reply)
        if received is None:
            return
        lines = received.decode("ascii").splitlines()
        self.pages += bool(lines)
        behind = len(self.lines) + len(lines)
        if received and not received.endswith(b"\n"):
            raise InvariantBroken(f"{self.task_key}: a page of its output ends within a line")
        if int(reply.headers["X-Last-Line"]) != behind or len(lines) > PAGE_LINES:
            raise InvariantBroken(f"{self.task_key}: {len(lines)} lines from {path}, and {reply.headers}")
        if self._stored[self.task_key][len(self.lines) : behind] != lines if lines else False:
            raise InvariantBroken(f"{self.task_key}: a page from line {len(self.lines)} on has other lines than stored")
        self.lines += lines
        self._over = reply.headers["X-Incomplete"] == "false"
