"""The stream of a response's events, for `GET /v1/responses/{id}?stream=true` and for `POST` with `stream: true`.

A stream that ends before its response sends an error and aborts, because OpenAI's SDKs take a clean end for success.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import refused
from ...kernel.api.base.messages import CutOff, Query, Reply
from ...kernel.api.base.problems import no_task
from ...kernel.api.base.services import Api
from ...kernel.api.follow import sse
from ...kernel.api.follow.following import Follower
from ...kernel.api.tasks.large_answers import chunk_index, joined_value, outputs_text
from ...kernel.api.tasks.views import has_quotes
from ...kernel.domain.events import State
from ...kernel.domain.marks import Pulse
from ...kernel.domain.task import CONCAT_SEPARATOR, Kind, Reduce, Status, Task, Usage, minimum_calls
from ...kernel.store.events import Look
from ...kernel.store.rows import ChunkIndex
from .answers import HERE, rest_with_quotes, with_quotes_here
from .response_events import BEFORE_TEXT, FIRST_DELTA, ResponseEvent, ResponseEventKind, ResponseProgress, events_from
from .shapes import OutputMessageView, OutputTextView, message_id
from .view import output_view, response_view, status_of

if TYPE_CHECKING:
    from ...kernel.api.tasks.joined_value import JoinedValue

_NUMBER_DIGITS_MOST = 9
_INTERRUPTED = (
    "The stream ended before the response did. Continue with stream=true and starting_after, the "
    "sequence_number of the last event received."
)
_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}


def check_obfuscation(query: Query) -> None:
    """Refuse (400) the parameter `include_obfuscation` unless it is `false`."""
    if query.get("include_obfuscation", "false") != "false":
        raise refused("include_obfuscation", "is supported here only as false")


def first_number(query: Query) -> int:
    """Read `starting_after`, and return the number of the first event to send. Raises Refusal (400)."""
    text = query.get("starting_after")
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MOST):
        raise refused("starting_after", "must be the sequence_number of an event")
    return int(text) + 1


async def stream_reply(exchange: Exchange, task: Task, first: int = 0) -> Reply:
    """Open a response's stream from event `first` on. Raises Refusal: 404 for no task, 400 for an unknown event."""
    at_end = _is_text_at_end(task)
    asked = 0 if at_end else max(0, first - FIRST_DELTA)
    opening = await exchange.api.store.opening(task.task_key, asked)
    if opening is None:
        raise no_task()
    look, following = opening.look, min(asked, opening.ready)
    if following < asked:  # the end comes after all deltas, and the outputs that were read follow a missing output
        look = replace(look, outputs=(), all_read=True)
    if first > len(_standing(replace(look, all_read=True), opening.ready, at_end=at_end).kinds):
        raise refused("starting_after", "is not the sequence_number of an event of this response")
    follower = Follower(exchange, task.task_key, None if at_end else following, look, reads=2)
    return Reply(200, headers=sse.HEADERS, parts=_parts(exchange, task, follower, first))


async def new_stream(exchange: Exchange, task: Task) -> Reply:
    """Open the stream of a response that was just accepted, which needs no D1 call."""
    look = Look(
        state=State(0, task.status, started=False),
        pulse=Pulse(task.mark, task.status, task.route),
        total=task.total,
        completed=0,
        failed=0,
        truncated=0,
        overdue=False,
        silent_ms=0,
        needs_help=False,
        outputs=(),
        all_read=True,
    )
    following = None if _is_text_at_end(task) else 0
    follower = Follower(exchange, task.task_key, following, look)
    return Reply(200, headers=sse.HEADERS, parts=_parts(exchange, task, follower, 0))


def _is_text_at_end(task: Task) -> bool:
    """Whether the stream sends the text as one delta at the end, because the text is known or checked only then."""
    return task.options.reduce is Reduce.MERGE or task.options.structure is not None


def _standing(look: Look, ready: int, *, at_end: bool) -> ResponseProgress:
    """Return which events of the stream exist if `ready` pieces of the text are known."""
    if at_end:
        ready = 1 if look.state.status is Status.COMPLETED else 0
    return ResponseProgress(look.state.status, look.state.started, ready, at_end or look.all_read)


async def _parts(exchange: Exchange, task: Task, follower: Follower, first: int) -> AsyncGenerator[str]:
    """Yield a stream's parts. A stream that stops before its response has ended sends an error and is cut off."""
    between = True
    try:
        async with aclosing(_events(exchange, task, follower, first)) as events:
            async for part in events:
                between = part.endswith(sse.CLOSED)
                yield part
    except _EndedEarly:
        pass
    except Exception as error:  # noqa: BLE001 - the client gets an error, the terminal the traceback
        exchange.api.log.failure("stream_broken", error, task=task.task_key)
    else:
        return
    if not between:  # an event was cut off: end this event, so that the error is an event of its own
        yield sse.CLOSED
    detail = {"message": _INTERRUPTED, "type": "server_error", "param": None, "code": "stream_interrupted"}
    yield sse.event("error", {"type": "error", "error": detail})
    raise CutOff


class _EndedEarly(Exception):
    """Raised if a stream has to end before its response: no allowance, no valid key, no task, or no database."""


async def _events(exchange: Exchange, task: Task, follower: Follower, first: int) -> AsyncGenerator[str]:
    """Write the response's events from number `first` on. Raises _EndedEarly if the last event cannot be sent."""
    api, at_end = exchange.api, _is_text_at_end(task)
    async with aclosing(follower.looks()) as looks:
        async for look in looks:
            if look is None:
                yield sse.COMMENT
                continue
            outputs = {output.key.position: output.text for output in look.outputs}
            standing = _standing(look, (follower.following or 0) + len(outputs), at_end=at_end)
            ended = standing.status.terminal and standing.all_known
            if ended:
                read = await api.store.task(task.task_key)
                if read is None or read.status is not standing.status:  # the task was erased or retried a moment ago
                    break
                task = read
            writer = await _writer(api, task, ended=ended)
            for event in events_from(standing, first):
                delta = None if event.delta is None or at_end else _piece(event.delta, outputs[event.delta])
                if not writer.has_room(event, delta):
                    raise _EndedEarly
                async for part in writer.write(event, delta):
                    yield part
                first = event.number + 1
            if not at_end:
                follower.following = standing.deltas
            if ended:
                return
    raise _EndedEarly


async def _writer(api: Api, task: Task, *, ended: bool) -> "Writer":
    """Make the writer of the next events of the stream. Raises Refusal (404) if the task is gone."""
    large = ended and task.status is Status.COMPLETED and task.result is None
    if not large:
        return Writer(api, task, None, None)
    index = await chunk_index(api.store, task)
    return Writer(api, task, index, joined_value(api.store, task, index))


def _piece(delta: int, output: str) -> str:
    """Return the text of a delta: a chunk's output, after a separator if it is not the first one."""
    return (CONCAT_SEPARATOR if delta else "") + output


# --- What each event holds ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes a response's events. `large`: its text is read in parts. `joined` keeps a joined value for all."""

    api: Api
    task: Task
    large: ChunkIndex | None
    joined: "JoinedValue | None"

    def has_room(self, event: ResponseEvent, delta: str | None) -> bool:
        """Whether the invocation's allowance suffices for the whole event: no stream may end within an event."""
        if self.large is None or delta is not None or event.kind in BEFORE_TEXT:
            return True
        once = sum(1 for _ in self.large.pages())
        reads = once if self.joined is None else self.joined.pages
        reads += once if has_quotes(self.task) else 0
        return self.api.meter.subrequests + reads <= self.api.settings.subrequests

    async def write(self, event: ResponseEvent, delta: str | None = None) -> AsyncGenerator[str]:
        """Write an event. `delta` is the piece of text in the event, None if the event contains the whole text."""
        name, held = self._data(event.kind, delta)
        data = {"type": name, "sequence_number": event.number, **held}
        if delta is not None:
            yield sse.event(name, data)
            return
        before, here, after = json.dumps(data, ensure_ascii=False).partition(json.dumps(HERE))
        opening = sse.opened(name) + sse.escaped(before)
        if here:
            # The text's first part is read before the event begins: a failing database is noticed between events.
            async with aclosing(self._result()) as result:
                async for part in result:
                    yield opening + sse.escaped(part)
                    opening = ""
        if self.large is None:
            yield opening + sse.escaped(after) + sse.CLOSED
            return
        yield opening
        async with aclosing(rest_with_quotes(self.api.store, after, self.large, self.joined)) as rest:
            async for part in rest:
                yield sse.escaped(part)
        yield sse.CLOSED

    async def _result(self) -> AsyncGenerator[str]:
        """Write the text of a completed response as a JSON string, in parts if the text is large."""
        if self.large is None:
            yield json.dumps(self.task.result, ensure_ascii=False)
            return
        async for part in outputs_text(self.api.store, self.task, self.large, self.joined):
            yield part

    def _data(self, kind: ResponseEventKind, delta: str | None) -> tuple[str, dict[str, object]]:
        at = {"output_index": 0}
        of_part: dict[str, object] = {"item_id": message_id(self.task.id), **at, "content_index": 0}
        held: dict[str, object]
        match kind:
            case ResponseEventKind.CREATED | ResponseEventKind.QUEUED | ResponseEventKind.IN_PROGRESS:
                status = Status.PROCESSING if kind is ResponseEventKind.IN_PROGRESS else Status.PENDING
                held = {"response": response_view(_at_first(self.task, status), self.api)}
            case ResponseEventKind.ITEM_ADDED:
                begun = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
                held = {**at, "item": {"id": message_id(self.task.id), **begun}}
            case ResponseEventKind.PART_ADDED:
                held = {**of_part, "part": _part("")}
            case ResponseEventKind.DELTA:
                held = {**of_part, "delta": HERE if delta is None else delta, "logprobs": []}
            case ResponseEventKind.TEXT_DONE:
                held = {**of_part, "text": HERE, "logprobs": []}
            case ResponseEventKind.PART_DONE:
                held = {**of_part, "part": _part(HERE)}
            case ResponseEventKind.ITEM_DONE:
                held = {**at, "item": _with_text(output_view(self.task))[0]}
            case ResponseEventKind.END:
                view = response_view(self.task, self.api)
                if self.large is not None:
                    with_quotes_here(view, self.task)
                held = {"response": {**view, "output": _with_text(view["output"])}}
        # A cancelled response ends with `response.failed`, as OpenAI has no event for a cancelled response.
        name = _ENDS.get(status_of(self.task), "response.failed") if kind is ResponseEventKind.END else kind.value
        return name, held


def _part(text: str) -> OutputTextView:
    return OutputTextView(type="output_text", text=text, annotations=[], logprobs=[])


def _with_text(output: list[OutputMessageView]) -> list[OutputMessageView]:
    for message in output:
        message["content"][0]["text"] = HERE
    return output


def _at_first(task: Task, status: Status) -> Task:
    """Return a task as it was when it began, so that a stream opened later has the same first events."""
    total = 0 if task.kind is Kind.FILE else task.total  # the chunks of a file are counted later
    return replace(
        task,
        total=total,
        status=status,
        completed=0,
        failed=0,
        truncated=0,
        usage=Usage(0, minimum_calls(total, task.options.reduce), 0, 0, 0),
        failure=None,
        finished_at=None,
        expires_at=None,
        waiting_for=None,
        last_error=None,
        starts_by=None,
        result=None,
        value=None,
        gaps=(),
        coverage=None,
    )
