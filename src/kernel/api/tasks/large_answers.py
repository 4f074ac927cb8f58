"""Writes answers with more text than one read of D1 may return: they are sent in parts.

Each part is read from D1 after the previous part was sent, so an isolate holds only one part in memory.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ...calls.clock import LongWork
from ...domain import limits
from ...domain.structure import Quote
from ...domain.task import CONCAT_SEPARATOR, Kind, Reduce, Status, Task
from ...store.rows import ChunkIndex, listed
from ...store.tasks import TaskStore
from ...store.views import TooMuchAtOnce
from ..base.messages import Reply, json_reply
from ..base.problems import no_task
from .views import WholeTaskView, chunk_view, has_quotes, has_schema, quotes_view

if TYPE_CHECKING:
    from .joined_value import JoinedValue

JSON = {"Content-Type": "application/json"}
_PART_CHARS = 16_384  # A part with more characters is sent before further chunks are added to it.


async def task_reply(
    store: TaskStore,
    status: int,
    task: Task,
    view: WholeTaskView,
    headers: Mapping[str, str],
    *,
    chunks_too: bool = False,
) -> Reply:
    """Show a task. `view` lacks a large result, and with `chunks_too` the finished chunks. Raises Refusal (404)."""
    # A completed task that was read without its result has a large result. The result of a batch is its files.
    large = task.status is Status.COMPLETED and task.result is None and task.kind is not Kind.BATCH
    if not large and not chunks_too:
        return json_reply(status, view, headers)
    if not large:
        with suppress(TooMuchAtOnce):
            if (chunks := await store.chunks(task.task_key)) is None:
                raise no_task()
            return json_reply(status, {**view, "chunks": [chunk_view(chunk) for chunk in chunks]}, headers)
    index = await chunk_index(store, task)
    return Reply(status, headers={**JSON, **headers}, parts=_task(store, task, view, index, large, chunks_too))


async def task_text(store: TaskStore, task: Task, view: WholeTaskView) -> AsyncGenerator[str]:
    """Write a task as JSON, in parts if its result is large. Raises Refusal (404) if the task is gone."""
    reply = await task_reply(store, 200, task, view, {})
    if reply.parts is None:
        yield reply.body
        return
    async for part in reply.parts:
        yield part


def chunks_reply(store: TaskStore, index: ChunkIndex, first: int) -> Reply:
    """Show all finished chunks from the index `first` on."""

    async def parts() -> AsyncGenerator[str]:
        yield '{"chunks": '
        async for part in _chunks(store, index, first):
            yield part
        yield ', "nextCursor": null}'

    return Reply(200, headers=JSON, parts=parts())


async def chunk_index(store: TaskStore, task: Task) -> ChunkIndex:
    """Read which chunks of a task are finished. Raises Refusal (404) if the task is gone."""
    index = await store.chunk_index(task.task_key)
    if index is None:
        raise no_task()
    return index._replace(page_chars=limits.QUOTED_CHARS_AT_ONCE) if has_quotes(task) else index


async def _task(
    store: TaskStore, task: Task, view: WholeTaskView, index: ChunkIndex, large: bool, chunks_too: bool
) -> AsyncGenerator[str]:
    """Write a task as a JSON object, with its fields in the order of `view`."""
    before = "{"
    for name, value in view.items():
        yield f"{before}{_text(name)}: "
        before = ", "
        if large and name == "result":
            async for part in _result(store, task, index):
                yield part
        else:
            yield _text(value)
    if chunks_too:
        yield ', "chunks": '
        async for part in _chunks(store, index):
            yield part
    yield "}"


async def _chunks(store: TaskStore, index: ChunkIndex, first: int = 0) -> AsyncGenerator[str]:
    before = "["
    for places in index.pages(first, limits.CHUNKS_AT_ONCE):
        written = ""
        for chunk in await store.some_chunks(index, places, with_rejected=True):
            written += before + _text(chunk_view(chunk))
            before = ", "
            if len(written) > _PART_CHARS:
                yield written
                written = ""
        if written:
            yield written
    yield "]" if before == ", " else "[]"


async def _result(store: TaskStore, task: Task, index: ChunkIndex) -> AsyncGenerator[str]:
    """Write a task's large result, which is `output`, and for a task with a schema also `value`."""
    joined = joined_value(store, task, index)
    if joined is not None and not await joined.join():
        yield "null"
        return
    yield '{"output": '
    async for part in outputs_text(store, task, index, joined):
        yield part
    if has_schema(task):
        yield ', "value": '
        async for part in values_text(store, index) if joined is None else joined.parts():
            yield part
    if has_quotes(task):
        yield ', "quotes": '
        async for part in quotes_text(store, index, joined):
            yield part
    yield "}"


async def quotes_text(store: TaskStore, index: ChunkIndex, joined: "JoinedValue | None") -> AsyncGenerator[str]:
    """Write the quotes of a large result as JSON."""
    written, between, work = "[", "", LongWork()
    async for quotes in _quotes(store, index) if joined is None else joined.quotes():
        if quotes:
            written += between + _text(quotes_view(quotes))[1:-1]
            between = ", "
            await work.did(limits.QUOTE_CHARS * len(quotes))
        if len(written) > _PART_CHARS:
            yield written
            written = ""
    yield written + "]"


async def _quotes(store: TaskStore, index: ChunkIndex) -> AsyncGenerator[Sequence[Quote]]:
    for places in index.pages():
        for chunk in await store.some_chunks(index, places):
            yield list(listed(chunk.index, chunk.quotes))


def joined_value(store: TaskStore, task: Task, index: ChunkIndex) -> "JoinedValue | None":
    """Return the joined value of a task with a schema and `concat`; None for another task."""
    if not has_schema(task) or task.options.reduce is not Reduce.CONCAT:
        return None
    from .joined_value import JoinedValue  # noqa: PLC0415 - only tasks with a schema need it

    return JoinedValue(store, task, index)


async def outputs_text(
    store: TaskStore, task: Task, index: ChunkIndex, joined: "JoinedValue | None"
) -> AsyncGenerator[str]:
    """Write a task's `output` as JSON: a list of outputs, the joined text, or the text of the joined value.

    The output of a merge is never large. A gap is null in a list, and adds nothing to a text.
    """
    assert task.options.reduce is not Reduce.MERGE
    if joined is not None:
        await joined.join()
        async for part in joined.as_text():
            yield part
        return
    as_list = task.options.reduce is Reduce.NONE
    begin, between, end = ("[", ", ", "]") if as_list else ('"', _text(CONCAT_SEPARATOR)[1:-1], '"')
    before = begin
    for places in index.pages():
        for chunk in await store.some_chunks(index, places):
            if chunk.output is None and not as_list:
                continue
            text = _text(chunk.output)
            yield before + (text if as_list else text[1:-1])
            before = between
    yield end


async def values_text(store: TaskStore, index: ChunkIndex) -> AsyncGenerator[str]:
    """Write the list of the values of a task with a schema. Each output is JSON already, so it is written unchanged."""
    before = "["
    for places in index.pages():
        for chunk in await store.some_chunks(index, places):
            yield before + ("null" if chunk.output is None else chunk.output)
            before = ", "
    yield "]"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
