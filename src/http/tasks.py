"""The handlers of `/api/tasks` and what is below it."""

import asyncio
from dataclasses import replace

from ..core import limits
from ..core.chunks import TooManyChunks
from ..core.states import Status
from ..core.task import Task
from ..store.tasks import TaskStore
from . import plans, queries
from .bodies import read_object
from .calls import Call, json_reply
from .fields import new_request, too_many_chunks
from .polling import poll_seconds, retry_after_seconds
from .ports import Api, Reply
from .problems import ALREADY_TERMINAL, NOT_RETRYABLE, Refusal, field_refusal, no_task
from .schemas import ChunkListView, TaskListView
from .views import chunk_view, task_path, task_view, task_with_chunks_view


async def submit(call: Call) -> Reply:
    """Accept a task, once it is durable in D1; with `dryRun` only show what it would come to."""
    settings, dry = call.api.settings, queries.is_dry_run(call.query)
    most_bytes = settings.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES
    request = new_request(await read_object(call.request, most_bytes), settings)
    try:
        if dry:
            return plans.show(request, settings)
        task = await call.api.submission.submit(request)
    except TooManyChunks as error:
        raise field_refusal([too_many_chunks(error.most)]) from None
    return _accepted(call.api, task)


async def read(call: Call) -> Reply:
    """Show a task, after waiting for its end if that is asked for."""
    task_id, seconds, chunks_too = call.task_id, queries.wait_seconds(call.query), queries.includes_chunks(call.query)
    store = call.api.store
    task = await _ended(store, task_id, seconds)
    if task is None:
        raise no_task()
    headers = {} if task.status.terminal else _retry_after(call.api, task)
    if not chunks_too:
        return json_reply(200, task_view(task), headers)
    chunks = await store.chunks(task_id)
    if chunks is None:
        raise no_task()
    return json_reply(200, task_with_chunks_view(task, chunks), headers)


async def read_chunks(call: Call) -> Reply:
    """Show the chunks finished so far, in order."""
    chunks = await call.api.store.chunks(call.task_id)
    if chunks is None:
        raise no_task()
    return json_reply(200, ChunkListView(chunks=[chunk_view(chunk) for chunk in chunks]))


async def read_page(call: Call) -> Reply:
    """Show a page of tasks, newest first."""
    status, limit = queries.status_filter(call.query), queries.page_limit(call.query)
    before = queries.page_start(call.query)
    # One more than is shown: whether it is there says whether there is a next page.
    found = await call.api.store.list(before=before, status=status, most=limit + 1)
    shown = found[:limit]
    next_cursor = queries.cursor(shown[-1].id) if len(found) > limit else None
    return json_reply(200, TaskListView(tasks=[task_view(task) for task in shown], nextCursor=next_cursor))


async def cancel(call: Call) -> Reply:
    """Cancel a task. One that is cancelled already counts: the client may be repeating itself."""
    store = call.api.store
    changed = await store.cancel(call.task_id, call.api.settings.retention_ms)
    task = await _found(store, call.task_id)
    if not changed and task.status is not Status.CANCELLED:
        raise Refusal(ALREADY_TERMINAL, f"The task is {task.status} already.")
    return json_reply(200, task_view(task))


async def retry(call: Call) -> Reply:
    """Put a failed or cancelled task back, to go on from the chunks that it has."""
    store, task_id = call.api.store, call.task_id
    if not await store.retry(task_id, call.api.settings.lease_ms):
        task = await _found(store, task_id)
        raise Refusal(NOT_RETRYABLE, f"The task is {task.status}; only a failed or cancelled one can go on.")
    route = await call.api.dispatcher.dispatch(task_id)
    task = await _found(store, task_id)
    if route is not None and task.status is Status.PENDING:
        task = replace(task, route=route)
    return _accepted(call.api, task)


async def erase(call: Call) -> Reply:
    """Erase a task with everything that it has. A worker that has it finds its claim gone."""
    if not await call.api.store.erase(call.task_id):
        raise no_task()
    return Reply(204)


async def _found(store: TaskStore, task_id: str) -> Task:
    task = await store.task(task_id)
    if task is None:
        raise no_task()
    return task


async def _ended(store: TaskStore, task_id: str, seconds: float) -> Task | None:
    """Read the task when it has ended, or after `seconds`; in between only its status, at a bounded rate."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = await store.task(task_id)
    while task is not None and not task.status.terminal and (waited := loop.time() - began) < seconds:
        pause, left = poll_seconds(waited), seconds - waited
        # The last read is not to follow upon the one before faster than any other.
        if left < pause + limits.WAIT_POLL_SECONDS:
            await asyncio.sleep(left)
            return await store.task(task_id)
        await asyncio.sleep(pause)
        status = await store.status(task_id)
        if status is None or status.terminal:
            return await store.task(task_id)
    return task


def _accepted(api: Api, task: Task) -> Reply:
    return json_reply(202, task_view(task), {"Location": task_path(task.id), **_retry_after(api, task)})


def _retry_after(api: Api, task: Task) -> dict[str, str]:
    return {"Retry-After": str(retry_after_seconds(task, api.now_ms(), api.settings.concurrency))}
