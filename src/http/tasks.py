"""The handlers of `/api/tasks` and what is below it."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from ..core.ids import split_task_key
from ..core.states import Status
from ..core.task import Task
from ..store.views import TaskGone, TooMuchAtOnce
from . import acts, large_answers, queries
from .conditions import digest, idempotency_key
from .exchange import Exchange
from .large_answers import task_reply
from .messages import Reply, json_reply
from .new_task import new_request
from .problems import ALREADY_TERMINAL, Refusal, no_task
from .services import Api
from .task_views import ChunkListView, TaskListView, chunk_view, task_path, task_view, whole_task_view


async def submit(exchange: Exchange) -> Reply:
    """Accept a task, once it is durable in D1; or find it accepted before, under the same idempotency key.

    With `dryRun` only show what it would come to.
    """
    api, dry = exchange.api, queries.is_dry_run(exchange.query)
    key = idempotency_key(exchange.request.headers)
    body = await acts.read_submission(exchange)
    request = new_request(body, api.settings)
    if dry:
        from . import dry_run  # noqa: PLC0415 - seldom asked for (docs/decisions/0033)

        with acts.cut_flaws():
            return dry_run.show(request, api)
    accepted = await acts.accept(exchange, request, key, digest(body) if key is not None else "")
    return await accepted_reply(api, accepted.task, acts.replayed(accepted))


async def read(exchange: Exchange) -> Reply:
    """Show a task, after waiting for its end if that is asked for."""
    api, key = exchange.api, exchange.task_key
    seconds, included = queries.wait_seconds(exchange.query), queries.included(exchange.query)
    task = await acts.current(api, key, seconds, reads_after=len(included))
    if task is None:
        raise no_task()
    headers = {} if task.status.terminal else acts.retry_after(api, task)
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
    api = exchange.api
    changed, task = await acts.ended_by_client(api, exchange.task_key, asyncio.get_running_loop().time())
    if not changed and task.status is not Status.CANCELLED:
        raise Refusal(ALREADY_TERMINAL, f"The task is {task.status} already.")
    return json_reply(200, whole_task_view(task, api))


async def erase(exchange: Exchange) -> Reply:
    """Erase a task with everything that it has. A worker that has it finds its claim gone."""
    # Looked for first, so that an erasure whose answer was lost can be told from one of nothing.
    if not await exchange.api.store.is_there(exchange.task_key) or not await acts.erase_task(
        exchange.api, exchange.task_key
    ):
        raise no_task()
    return Reply(204)


async def _all_up_to_date(api: Api, tasks: Sequence[Task]) -> Iterable[Task]:
    """Do the same for several tasks."""
    overdue = [task.task_key for task in tasks if task.overdue]
    if not overdue or not await acts.expired(api, overdue):
        return tasks
    now = {task.task_key: task for task in await api.store.tasks(overdue)}
    return (now.get(task.task_key, task) for task in tasks if task.task_key in now or not task.overdue)


async def accepted_reply(api: Api, task: Task, headers: Mapping[str, str] | None = None) -> Reply:
    """Say that a task is taken, or taken on, and where it is."""
    later = {} if task.status.terminal else acts.retry_after(api, task)
    headers = {"Location": task_path(task.id), **later, **(headers or {})}
    return await task_reply(api.store, 202, task, whole_task_view(task, api), headers)
