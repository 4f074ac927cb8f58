"""The events of a response as OpenAI's API has them: what each holds, as text of a stream."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from ...core.response_events import Kind, ResponseEvent
from ...core.states import Status
from ...core.task import Task, Usage, minimum_calls
from .. import sse
from ..large_answers import chunk_index, joined_outputs
from ..services import Api
from .names import message_id
from .shapes import OutputMessageView, OutputTextView
from .view import output_view, response_view, status_of

# Stands for the text where it goes: no text that a client sent holds NUL, and no other field has it.
_HERE = "\0"
_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the events of one response. `task` is as it was read last."""

    api: Api
    task: Task

    async def write(self, event: ResponseEvent, delta: str | None = None) -> AsyncGenerator[str]:
        """Write an event; `delta` is the piece of the text that it brings, None for the whole result."""
        name, held = self._data(event.kind, delta)
        data = {"type": name, "sequence_number": event.number, **held}
        if delta is not None:
            yield sse.event(name, data)
            return
        before, here, after = json.dumps(data, ensure_ascii=False).partition(json.dumps(_HERE))
        yield sse.opened(name) + before
        if here:
            async for part in self._result():
                yield part
        yield after + sse.CLOSED

    async def _result(self) -> AsyncGenerator[str]:
        """Write the text of a completed response, as JSON."""
        if self.task.result is not None:
            yield json.dumps(self.task.result, ensure_ascii=False)
            return
        index = await chunk_index(self.api.store, self.task)
        async for part in joined_outputs(self.api.store, self.task, index):
            yield part

    def _data(self, kind: Kind, delta: str | None) -> tuple[str, dict[str, object]]:
        """Return an event's name and what it holds."""
        at = {"output_index": 0}
        of_part: dict[str, object] = {"item_id": message_id(self.task.id), **at, "content_index": 0}
        held: dict[str, object]
        match kind:
            case Kind.CREATED | Kind.QUEUED | Kind.IN_PROGRESS:
                status = Status.PROCESSING if kind is Kind.IN_PROGRESS else Status.PENDING
                held = {"response": response_view(_at_first(self.task, status), self.api)}
            case Kind.ITEM_ADDED:
                begun = {"type": "message", "status": "in_progress", "role": "assistant", "content": []}
                held = {**at, "item": {"id": message_id(self.task.id), **begun}}
            case Kind.PART_ADDED:
                held = {**of_part, "part": _part("")}
            case Kind.DELTA:
                held = {**of_part, "delta": _HERE if delta is None else delta, "logprobs": []}
            case Kind.TEXT_DONE:
                held = {**of_part, "text": _HERE, "logprobs": []}
            case Kind.PART_DONE:
                held = {**of_part, "part": _part(_HERE)}
            case Kind.ITEM_DONE:
                held = {**at, "item": _with_text(output_view(self.task))[0]}
            case Kind.END:
                view = response_view(self.task, self.api)
                held = {"response": {**view, "output": _with_text(view["output"])}}
        # A cancelled one ends as a failed one: OpenAI has no event of that name.
        name = _ENDS.get(status_of(self.task), "response.failed") if kind is Kind.END else kind.value
        return name, held


def _part(text: str) -> OutputTextView:
    return OutputTextView(type="output_text", text=text, annotations=[], logprobs=[])


def _with_text(output: list[OutputMessageView]) -> list[OutputMessageView]:
    for message in output:
        message["content"][0]["text"] = _HERE
    return output


def _at_first(task: Task, status: Status) -> Task:
    """A task as it was before anything came of it, whatever has since: so that its first events stay the same."""
    return replace(
        task,
        status=status,
        completed=0,
        failed=0,
        truncated=0,
        usage=Usage(
            model_calls=0,
            minimum_calls=minimum_calls(task.total, task.options.reduce),
            in_doubt=0,
            input_tokens=0,
            output_tokens=0,
        ),
        failure=None,
        finished_at=None,
        expires_at=None,
        waiting_for=None,
        last_error=None,
        starts_by=None,
        result=None,
    )
