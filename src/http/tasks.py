"""The handlers of `/api/tasks` and what is below it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil

from ..core import limits
from ..core.chunks import TooManyChunks
from ..core.errors import StoreError
from ..core.ids import TaskKey, split_task_key
from ..core.states import Status
from ..core.task import Task
from ..processing.submission import BudgetTooSmall, Submitted, TooMuchRepeated
from ..processing.terms import OVERDUE
from ..store.admission import Mismatched, Refused
from ..store.tasks import TaskStore
from ..store.views import TaskGone, TooMuchAtOnce
from . import dry_run, large_answers, queries
from .bodies import read_object
from .conditions import digest, idempotency_key, limit_reached, mismatch
from .exchange import Exchange
from .fields import checked
from .large_answers import task_reply
from .messages import Reply, json_reply
from .new_task import budget_too_small, new_request, too_many_chunks, too_much_repeated
from .polling import poll_seconds, reads_left, sparing_seconds
from .problems import (
    ALREADY_TERMINAL,
    DATABASE_UNAVAILABLE,
    Refusal,
    field_refusal,
    no_task,
    overload_refusal,
)
from .retries import RetryFields, not_retryable
from .services import Api
from .task_views import ChunkListView, TaskListView, chunk_view, task_path, task_view, whole_task_view
from .waiting import retry_after_seconds, waiting_for

_STILL_STARTING = (
    "The task is cancelled. The database is slow, and calls that were announced before may still start for a while: "
    "cancel the task again after that, and the answer says that none will."
)


async def submit(exchange: Exchange) -> Reply:
    """Accept a task, once it is durable in D1; or find it accepted before, under the same idempotency key.

    With `dryRun` only show what it would come to.
    """
    api, settings, dry = exchange.api, exchange.api.settings, queries.is_dry_run(exchange.query)
    load, clock = api.isolate.load, asyncio.get_running_loop().time
    key = idempotency_key(exchange.request.headers)
    most_bytes = settings.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES
    body = await read_object(exchange.request, most_bytes)
    request = new_request(body, settings)
    try:
        if dry:
            return dry_run.show(request, api)
        if not load.admits(clock()):
            raise overload_refusal()
        outcome = await api.submission.submit(exchange.tenant, request, key, digest(body) if key is not None else "")
    except TooManyChunks as error:
        raise field_refusal([too_many_chunks(error.most)]) from None
    except BudgetTooSmall as error:
        raise field_refusal([budget_too_small(error.minimum)]) from None
    except TooMuchRepeated as error:
        raise field_refusal([too_much_repeated(error.mostly)]) from None
    finally:
        load.unprobed(clock())  # what was refused without a call to D1 was no probe
    match outcome:
        case Submitted(task, replayed):
            return await _accepted(api, task, {"Idempotency-Replayed": "true"} if replayed else {})
        case Mismatched():
            raise mismatch()
        case Refused(limit):
            raise limit_reached(limit, api)


async def read(exchange: Exchange) -> Reply:
    """Show a task, after waiting for its end if that is asked for."""
    api, key = exchange.api, exchange.task_key
    seconds, included = queries.wait_seconds(exchange.query), queries.included(exchange.query)
    task = await _ended(api, key, seconds, reads_after=len(included))
    if task is None:
        raise no_task()
    headers = {} if task.status.terminal else _retry_after(api, task)
    view = whole_task_view(task, api)
    if "input" in included:
        view["input"] = await api.store.input(key)
    return await task_reply(api.store, 200, task, view, headers, chunks_too="chunks" in included)


async def read_chunks(exchange: Exchange) -> Reply:
    """Show the chunks finished so far, in order: all of them, or a page."""
    store, key = exchange.api.store, exchange.task_key
    limit, first = queries.chunks_limit(exchange.query), queries.chunks_start(exchange.query)
    if limit is None and not first:
        with suppress(TooMuchAtOnce):
            chunks = await store.chunks(key)
            if chunks is None:
                raise no_task()
            return json_reply(200, ChunkListView(chunks=[chunk_view(chunk) for chunk in chunks], nextCursor=None))
    index = await store.chunk_index(key)
    if index is None:
        raise no_task()
    if limit is None:
        return large_answers.chunks_reply(store, index, first)
    pages = index.pages(first, limit)
    try:
        shown = [] if (page := next(pages, None)) is None else await store.some_chunks(index, page)
    except TaskGone:
        raise no_task() from None
    cursor = None if page is None or next(pages, None) is None else str(page.stop)
    return json_reply(200, ChunkListView(chunks=[chunk_view(chunk) for chunk in shown], nextCursor=cursor))


async def read_page(exchange: Exchange) -> Reply:
    """Show a page of the tenant's tasks, newest first."""
    status, limit = queries.status_filter(exchange.query), queries.page_limit(exchange.query)
    where = queries.created_span(exchange.tenant, exchange.query, queries.page_start(exchange.query))
    page = await exchange.api.store.list(where, status=status, most=limit)
    shown = [task for task in await _all_up_to_date(exchange.api, page.tasks) if status in {None, task.status}]
    next_cursor = None if page.last is None else queries.cursor(split_task_key(page.last)[1])
    return json_reply(
        200, TaskListView(tasks=[task_view(task, exchange.api) for task in shown], nextCursor=next_cursor)
    )


async def cancel(exchange: Exchange) -> Reply:
    """Cancel a task. One that is cancelled already counts: the client may be repeating itself."""
    api, key = exchange.api, exchange.task_key
    began = asyncio.get_running_loop().time()
    changed, starting_ms, fence = await api.store.cancel(key, api.settings.retention_ms)
    if changed:
        api.log("cancelled", task=key)
    # Nothing is announced any more; what was may still be on its way, and the answer says that nothing is.
    held = starting_ms / 1000
    late = asyncio.get_running_loop().time() - began + held > limits.CANCEL_SECONDS_MOST
    await _let_go(api, key, 0.0 if late else held, fence)
    if late:
        again = {"Retry-After": str(ceil(held))}
        raise Refusal(DATABASE_UNAVAILABLE, _STILL_STARTING, headers=again)
    task = await _found(api.store, key)
    if not changed and task.status is not Status.CANCELLED:
        raise Refusal(ALREADY_TERMINAL, f"The task is {task.status} already.")
    return json_reply(200, whole_task_view(task, api))


async def retry(exchange: Exchange) -> Reply:
    """Put a failed or cancelled task back, to go on from the chunks that it has, maybe with another budget."""
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST, optional=True)
    max_calls = checked(RetryFields, body).max_model_calls
    api, key = exchange.api, exchange.task_key
    accepted = await api.submission.retry(key, max_calls)
    if accepted is None:
        task = await _found(api.store, key)
        if task.overdue:  # then it has failed, though nobody has said so yet
            await api.store.expire([key], OVERDUE, api.settings.retention_ms)
            accepted = await api.submission.retry(key, max_calls)
    if accepted is None:
        raise not_retryable(await _found(api.store, key), max_calls, api)
    api.log("retried", task=key, max_calls=max_calls)
    route = await api.dispatcher.dispatch(key, crowded=accepted.crowded)
    task = await _found(api.store, key)
    task = replace(task, news_at=task.read_at)  # this is news
    if route is not None and task.status is Status.PENDING:
        task = replace(task, route=route)
    return await _accepted(api, task)


async def erase(exchange: Exchange) -> Reply:
    """Erase a task with everything that it has. A worker that has it finds its claim gone."""
    api, store, key = exchange.api, exchange.api.store, exchange.task_key
    # Looked for first, so that an erasure whose answer was lost can be told from one of nothing.
    if not await store.is_there(key):
        raise no_task()
    gone, starting_ms, fence = await store.erase(key)
    if not gone:
        raise no_task()
    exchange.api.log("erased", task=key)
    await _let_go(api, key, starting_ms / 1000, fence)
    return Reply(204)


async def _let_go(api: Api, key: TaskKey, held_seconds: float, object_fence: int | None) -> None:
    """Wait until no announced call can start any more. Meanwhile an object that works on the task hears of its end."""
    told = [] if object_fence is None else [api.tell_object(key, object_fence)]
    await asyncio.gather(asyncio.sleep(held_seconds), *told)


async def _found(store: TaskStore, task_key: TaskKey) -> Task:
    task = await store.task(task_key)
    if task is None:
        raise no_task()
    return task


async def _ended(api: Api, key: TaskKey, seconds: float, *, reads_after: int) -> Task | None:
    """Read the task when it has ended, or after `seconds`; in between only its status, at a bounded rate.

    On the free plan each read is of the whole task: that spares the one after the status.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = await _up_to_date(api, key)
    if task is not None and (task.late or task.unanswered):
        try:
            await api.rescue.help(task, seconds - (loop.time() - began))
        except StoreError as error:  # the task has been read: whoever asks for it sees it, helped or not
            api.log("help_failed", task=key, code=error.code)
        else:
            task = await _up_to_date(api, key)
    free = api.settings.plan == "free"
    reads = reads_left(task, reads_after) if free and task is not None else 0
    while task is not None and not task.status.terminal and (waited := loop.time() - began) < seconds:
        left = seconds - waited
        pause = sparing_seconds(left, reads) if free else poll_seconds(waited)
        # The last read is not to follow upon the one before faster than any other.
        if left < pause + limits.WAIT_POLL_SECONDS:
            await asyncio.sleep(left)
            return await _up_to_date(api, key)
        await asyncio.sleep(pause)
        reads -= 1
        if free or not await api.store.going_on(key):
            task = await _up_to_date(api, key)
    return task


async def _up_to_date(api: Api, key: TaskKey) -> Task | None:
    """Read the task; one whose deadline has passed since anybody looked has failed by that."""
    task = await api.store.task(key)
    if task is None or not task.overdue or not await _expired(api, [key]):
        return task
    return await api.store.task(key)


async def _all_up_to_date(api: Api, tasks: Sequence[Task]) -> Iterable[Task]:
    """Do the same for several tasks."""
    overdue = [task.task_key for task in tasks if task.overdue]
    if not overdue or not await _expired(api, overdue):
        return tasks
    now = {task.task_key: task for task in await api.store.tasks(overdue)}
    return (now.get(task.task_key, task) for task in tasks if task.task_key in now or not task.overdue)


async def _expired(api: Api, overdue: Sequence[TaskKey]) -> bool:
    """End them. A database that takes no write keeps nobody from reading them: a sweep comes."""
    try:
        await api.store.expire(overdue, OVERDUE, api.settings.retention_ms)
    except StoreError as error:
        api.log("expiry_failed", tasks=len(overdue), code=error.code)
        return False
    return True


async def _accepted(api: Api, task: Task, headers: Mapping[str, str] | None = None) -> Reply:
    later = {} if task.status.terminal else _retry_after(api, task)
    headers = {"Location": task_path(task.id), **later, **(headers or {})}
    return await task_reply(api.store, 202, task, whole_task_view(task, api), headers)


def _retry_after(api: Api, task: Task) -> dict[str, str]:
    return {"Retry-After": str(retry_after_seconds(task, waiting_for(task, api), api.settings.concurrency))}
