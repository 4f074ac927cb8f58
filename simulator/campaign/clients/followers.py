"""Clients that follow a task by its events, and open a new stream whenever their stream is cut off.

Three things must be true for the events that a client gets, whatever happens to the task and the stream. The chunks in
a client's events come in the order of the text, each exactly once, and a gap comes in the place of its chunk. Each
event has an id of its own. At the end, the events that came agree with the task that the API shows.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from simulator.campaign.clients import tenants
from simulator.campaign.subject.arrivals import ClientRequest, StreamedReply
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.engine.fault_kinds import STREAM_CUT
from simulator.platform.binding_port import JsError
from simulator.platform.streams import IdentityTransformStream
from simulator.platform.world import World
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey, split_task_key

FOLLOWED_SECONDS_MOST = 300.0  # How many seconds a client follows a task's events while faults last.
# How many seconds a client waits for the end of an ended task's events once faults have stopped.
ENDED_SECONDS_MOST = 600.0
SILENT_SECONDS = 20.0  # A client leaves a stream after this many silent seconds: normally a comment comes every 15 s.
PAUSE_SECONDS = 1.0
STREAMS_EXCUSED = "streams of completed tasks that an older release ended before a gap, excused"
_FORM = "SELECT structured FROM tasks WHERE id = ?"

Fetch = Callable[[ClientRequest], Awaitable[Reply | None]]


class StreamClient:
    """One client that follows one task.

    `outputs` are the outputs that the client has received of the chunks so far, None for a gap. `cuts` counts the
    streams that the client left before their end. `excused` says that an older release told the end before a gap.
    """

    def __init__(self, world: World, fetch: Fetch, task_key: TaskKey) -> None:
        self.task_key = task_key
        self.outputs: list[str | None] = []
        self.cuts = 0
        self.excused = False
        self.gone = False
        self.mixed = False  # True if some isolates are of an older release, which does not know schemas.
        self._world = world
        self._fetch = fetch
        self._tenant, task_id = split_task_key(task_key)
        self._path = f"/api/tasks/{task_id}"
        self._last = ""
        self._is_mixed_now = False  # True if an older isolate may serve the present stream.
        self._is_last_mixed = False  # True if an older isolate may have told the last event.
        self._seen: dict[str, str] = {}
        self._ended = False

    async def follow(self, seconds: float) -> None:
        """Follow the task until its end event comes, the task is gone, or this many seconds have passed."""
        until = self._world.loop.now() + seconds
        self._ended = False
        while not (self._ended or self.gone) and self._world.loop.now() < until:
            self._is_mixed_now = self.mixed and self._world.faults.active  # older isolates go when faults stop
            reply = await self._fetch(self._request())
            if reply is not None and reply.status == 404:
                self.gone = True
            elif reply is not None and reply.status in {400, 422} and not self.may_be_misread():
                raise InvariantBroken(f"{self.task_key}: its stream does not go on: {reply.body}")
            elif reply is not None and isinstance(reply, StreamedReply):
                await self._read(reply.stream)
            await asyncio.sleep(PAUSE_SECONDS)

    def may_be_misread(self) -> bool:
        """Whether an isolate of an older release may answer, to which the task's schema and gaps are unknown.

        Such an isolate streams outputs as they are, and refuses the id of an event behind a gap. An erased task counts
        as one with a schema.
        """
        found = self._world.database.connection.execute(_FORM, (self.task_key,)).fetchone()
        return self.mixed and (found is None or found[0] is not None)

    def _request(self) -> ClientRequest:
        """Make the request for a stream that continues after the last event that the client got."""
        headers = tenants.headers(self._tenant) | ({"last-event-id": self._last} if self._last else {})
        return ClientRequest("GET", f"{self._path}/events", headers=headers)

    async def _read(self, stream: IdentityTransformStream) -> None:
        """Read events until the stream ends or is cut off."""
        text = ""
        try:
            async with aclosing(stream.pieces(SILENT_SECONDS)) as pieces:
                async for piece in pieces:
                    text += piece.decode()
                    *whole, text = text.split("\n\n")
                    for event in whole:
                        self._take(event)
                        if self._world.faults.fires(STREAM_CUT, "client"):
                            self.cuts += 1
                            return
        except JsError:
            return
        finally:
            stream.leave()

    def _take(self, event: str) -> None:
        lines = dict(line.partition(": ")[::2] for line in event.split("\n"))
        if "id" in lines:
            self._numbered(lines["event"], lines["id"], lines["data"])
        elif lines.get("event") == "end":
            self._ended = True

    def _numbered(self, name: str, event_id: str, told: str) -> None:
        if event_id in self._seen:
            raise InvariantBroken(f"{self.task_key}: event {event_id} came twice, as {self._seen[event_id]} and {told}")
        rank = [int(part) for part in event_id.split("-")]
        if self._last and rank <= [int(part) for part in self._last.split("-")]:
            raise InvariantBroken(f"{self.task_key}: event {event_id} came behind {self._last}")
        self._seen[event_id], self._last, self._is_last_mixed = told, event_id, self._is_mixed_now
        if name in {"chunk", "gap"}:
            event = json.loads(told)
            index = event["index" if name == "chunk" else "chunk"]
            if index != len(self.outputs):
                raise InvariantBroken(f"{self.task_key}: {name} {index} came in place of {len(self.outputs)}")
            self.outputs.append(event["output"] if name == "chunk" else None)

    async def see_the_end(self) -> None:
        """Once all is quiet, check that the end event comes and that all events agree with what the API shows."""
        await self.follow(ENDED_SECONDS_MOST)
        if self.gone:
            return
        if not self._ended:
            raise InvariantBroken(f"{self.task_key} has ended, and no stream says so")
        query = ClientRequest("GET", f"{self._path}/chunks", headers=tenants.headers(self._tenant))
        reply = await self._fetch(query)
        if reply is None or reply.status != 200:  # The isolate stands still, or the task was erased.
            return
        chunks = json.loads(reply.body)["chunks"]
        shown = {chunk["index"]: chunk["output"] for chunk in chunks if chunk["status"] != "failed"}
        ready = next(index for index in range(len(shown) + 1) if index not in shown)
        # A worker may record outputs that were paid for after clients have seen the end of its cancelled task.
        is_short = not self._was_stopped and len(self.outputs) < ready
        self.excused = is_short and self._ends_before_gap(shown)
        if not self._fits(shown) or (is_short and not self.excused):
            raise InvariantBroken(f"{self.task_key}: its stream told {self.outputs}, and its chunks are {shown}")

    def _fits(self, shown: dict[int, str | None]) -> bool:
        """Whether the stream told what the API shows. A retry opens a gap again, and its place has been told."""
        is_retried = not self._last.startswith("0-")
        return all(
            (index in shown and shown[index] == output) or (output is None and is_retried)
            for index, output in enumerate(self.outputs)
        )

    def _ends_before_gap(self, shown: dict[int, str | None]) -> bool:
        """Whether an older release may have told the end: for its isolates the chunks end before the first gap."""
        return self._is_last_mixed and self.may_be_misread() and shown[len(self.outputs)] is None

    @property
    def _was_stopped(self) -> bool:
        return any('"cancelled"' in told or '"failed"' in told for told in list(self._seen.values())[-1:])
