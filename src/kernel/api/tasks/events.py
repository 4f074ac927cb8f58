"""The stream of a task's events: the handler of `GET /api/tasks/{id}/events`, and the form of each event."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypedDict

from ...domain import limits
from ...domain.events import ID_PATTERN, EventMark, Phase, TaskEvent, events, has_been, mark_of, takes_chunks
from ...domain.keys import Scope
from ...domain.structure import Gap
from ...domain.task import Status
from ...store.claims import Output
from ...store.events import Opening
from ...store.rows import ChunkIndex
from ..base.endpoint import Answer, Endpoint, Parameter
from ..base.exchange import Exchange, Reach
from ..base.fields import refused
from ..base.messages import Query, Reply, Request
from ..base.problems import no_task
from ..base.views import shown
from ..follow import sse
from ..follow.following import Follower
from .large_answers import task_text
from .views import ProgressView, chunk_view, gap_view, progress_view, whole_task_view

_HEADER = "Last-Event-ID"
_PLACE = f"after, {_HEADER}"
_PART_CHARS = 16_384  # A part of a stream with more characters is sent before further events are added to it.
_ID = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
_ID_OR_NONE = {"type": "string", "pattern": f"^(?:{ID_PATTERN})?$"}
_SUMMARY = "Follow a task as it happens: its status, its chunks in the order of the text, its progress and its end"
_ABOUT = (
    "Server-sent events: `status` and `chunk`, each once and with an `id`; `gap` in the place of a `chunk` without "
    "which the task goes on; `progress`; and at last `end`, with the task. A stream without `end` ends with `retry`: "
    "open it again after the last `id`."
)


@shown
class StatusEventView(TypedDict):
    """The data of `status`: a task waits (`pending`), a worker has had it (`processing`), or it has ended."""

    status: Status


async def follow_task(exchange: Exchange) -> Reply:
    """Open the stream of a task's events, after the event that the client names."""
    mark = _behind(exchange.request, exchange.query)
    opening = await exchange.api.store.opening(exchange.task_key, 0 if mark is None else mark.chunks)
    if opening is None:
        raise no_task()
    if mark is not None and not has_been(mark, opening.look.state, opening.ready):
        raise refused(_PLACE, "is not the id of an event of this task")
    return Reply(200, headers=sse.HEADERS, parts=_stream(exchange, opening, mark))


async def _stream(exchange: Exchange, opening: Opening, mark: EventMark | None) -> AsyncGenerator[str]:
    """Write the events after `mark`, until the task's end. A stream that ends early asks the client to come back."""
    follower = Follower(exchange, exchange.task_key, 0 if mark is None else mark.chunks, opening.look)
    told: ProgressView | None = None
    index, was_uncut = opening.index, not opening.look.total
    async with aclosing(follower.looks()) as looks:
        async for look in looks:
            if look is None:
                yield sse.COMMENT
                continue
            if was_uncut and look.ready:  # the text of a file was cut since the stream opened
                index = await exchange.api.store.chunk_index(exchange.task_key) or index
                was_uncut = False
            outputs = {output.key.position: output for output in look.outputs}
            written = ""  # events that are sent as one part, because each part costs three turns of the event loop
            for event in events(mark, look.state, look.ready, all_ready=look.all_read, gaps=look.gaps):
                mark = event.mark
                output = None if event.chunk is None else outputs[event.chunk]
                written += _written(event, index, output, None if event.gap is None else look.gaps[event.gap])
                if len(written) > _PART_CHARS:
                    yield written
                    written = ""
            assert mark is not None
            follower.following = mark.chunks if takes_chunks(mark, look.state) else None
            if (progress := progress_view(look)) != told:
                told = progress
                written += sse.event("progress", progress)
            if written:
                yield written
            if mark.phase is Phase.ENDED:
                async for part in _end(exchange):
                    yield part
                return
    yield sse.come_back(limits.EVENT_RETRY_MS)


def _written(event: TaskEvent, index: ChunkIndex, output: Output | None, gap: Gap | None) -> str:
    if gap is not None:
        return sse.event("gap", gap_view(gap), event.mark.id)
    if output is None:
        assert event.status is not None
        return sse.event("status", StatusEventView(status=event.status), event.mark.id)
    return sse.event("chunk", chunk_view(index.completed(output)), event.mark.id)


async def _end(exchange: Exchange) -> AsyncGenerator[str]:
    """Write the last event, `end`, with the task as `GET /api/tasks/{id}` shows it."""
    task = await exchange.api.store.task(exchange.task_key)
    # the task was erased or retried a moment ago, so there is no last event
    if task is None or not task.status.terminal:
        yield sse.come_back(limits.EVENT_RETRY_MS)
        return
    yield sse.opened("end")
    async for part in task_text(exchange.api.store, task, whole_task_view(task, exchange.api, exchange.acting)):
        yield sse.escaped(part)
    yield sse.CLOSED


def _behind(request: Request, query: Query) -> EventMark | None:
    """Read after which event the stream goes on; the header counts before `after`. Raises Refusal (422)."""
    text = request.headers.get(_HEADER.lower()) or query.get("after")
    if text is None:
        return None
    mark = mark_of(text)
    if mark is None:
        raise refused(_PLACE, "must be the id of an event of this task")
    return mark


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/events",
        summary=_SUMMARY,
        handler=follow_task,
        access=Scope.READ,
        reach=Reach.ONE,
        parameters=(
            Parameter(
                "after", f"The id of the event after which the stream continues. `{_HEADER}` takes precedence.", _ID
            ),
            Parameter(_HEADER, "The same: the id of the last event received.", _ID_OR_NONE, "header"),
        ),
        answers=(Answer(200, _ABOUT, media_type=sse.MEDIA_TYPE),),
    ),
)
