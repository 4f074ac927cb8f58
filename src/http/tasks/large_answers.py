"""Answers with more text than one read of D1 may return. They are sent in parts.

Each part is read after the previous one was sent. So an isolate holds only one part in memory, not several copies of
the whole.
"""

import json
from collections.abc import AsyncGenerator, Mapping

from ...core.states import Status
from ...core.task import CONCAT_SEPARATOR, Reduce, Task
from ...store.records.chunk_index import ChunkIndex
from ...store.tasks import TaskStore
from ...store.views import TooMuchAtOnce
from ..base.messages import Reply, json_reply
from ..base.problems import no_task
from .task_views import WholeTaskView, chunk_view, with_chunks

JSON = {"Content-Type": "application/json"}


async def task_reply(
    store: TaskStore,
    status: int,
    task: Task,
    view: WholeTaskView,
    headers: Mapping[str, str],
    *,
    chunks_too: bool = False,
) -> Reply:
    """Show a task, and its finished chunks if requested. `view` has everything except a large result.

    Raises Refusal (404).
    """
    # A completed task whose result was not read with it has a large one.
    large = task.status is Status.COMPLETED and task.result is None
    if not large and not chunks_too:
        return json_reply(status, view, headers)
    if not large:
        try:
            chunks = await store.chunks(task.task_key)
        except TooMuchAtOnce:
            pass
        else:
            if chunks is None:
                raise no_task()
            return json_reply(status, with_chunks(view, chunks), headers)
    index = await chunk_index(store, task)
    return Reply(status, headers={**JSON, **headers}, parts=_task(store, task, view, index, large, chunks_too))


async def task_text(store: TaskStore, task: Task, view: WholeTaskView) -> AsyncGenerator[str]:
    """Write a task as JSON, in parts if its result is large. Raises Refusal (404)."""
    reply = await task_reply(store, 200, task, view, {})
    if reply.parts is None:
        yield reply.body
        return
    async for part in reply.parts:
        yield part


def chunks_reply(store: TaskStore, index: ChunkIndex, first: int) -> Reply:
    """Show all finished chunks from `first` on."""
    return Reply(200, headers=JSON, parts=_chunk_list(store, index, first))


async def chunk_index(store: TaskStore, task: Task) -> ChunkIndex:
    """Read which chunks of a task are finished. Raises Refusal (404)."""
    index = await store.chunk_index(task.task_key)
    if index is None:
        raise no_task()
    return index


async def _chunk_list(store: TaskStore, index: ChunkIndex, first: int) -> AsyncGenerator[str]:
    yield '{"chunks": '
    async for part in _chunks(store, index, first):
        yield part
    yield ', "nextCursor": null}'


async def _task(
    store: TaskStore, task: Task, view: WholeTaskView, index: ChunkIndex, large: bool, chunks_too: bool
) -> AsyncGenerator[str]:
    """Write the members of a task in their order."""
    before = "{"
    for name, value in view.items():
        yield f"{before}{_text(name)}: "
        before = ", "
        if large and name == "result":
            yield '{"output": '
            async for part in joined_outputs(store, task, index):
                yield part
            yield "}"
        else:
            yield _text(value)
    if chunks_too:
        yield ', "chunks": '
        async for part in _chunks(store, index):
            yield part
    yield "}"


async def _chunks(store: TaskStore, index: ChunkIndex, first: int = 0) -> AsyncGenerator[str]:
    before = "["
    for places in index.pages(first):
        for chunk in await store.some_chunks(index, places):
            yield before + _text(chunk_view(chunk))
            before = ", "
    yield "]" if before == ", " else "[]"


async def joined_outputs(store: TaskStore, task: Task, index: ChunkIndex) -> AsyncGenerator[str]:
    """Write the outputs as a list, or joined as one text.

    A merge is never written here, because its one output is never large.
    """
    assert task.options.reduce is not Reduce.MERGE
    as_list = task.options.reduce is Reduce.NONE
    begin, between, end = ("[", ", ", "]") if as_list else ('"', _text(CONCAT_SEPARATOR)[1:-1], '"')
    before = begin
    for places in index.pages():
        for chunk in await store.some_chunks(index, places):
            text = _text(chunk.output)
            yield before + (text if as_list else text[1:-1])
            before = between
    yield end


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
