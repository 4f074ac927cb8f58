"""The most frequent calls of `/api/tasks` and of the paths below it, and their entries in the API's table."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, cast

from ...domain import limits
from ...domain.ids import TENANT_PATTERN, split_task_key
from ...domain.keys import Scope
from ...domain.task import Route, Status, Task
from ...store.views import TaskGone, TooMuchAtOnce
from ..access.access import caller_of
from ..base import fields as queries
from ..base import problems
from ..base.endpoint import IDEMPOTENCY_KEY, OF_TASK, Access, Answer, Endpoint, Parameter
from ..base.exchange import EVERYONE, Exchange, Reach
from ..base.fields import extra_names
from ..base.messages import Reply, json_reply
from ..base.problems import ALREADY_TERMINAL, Refusal, no_task
from ..base.services import Api
from ..follow import wait
from . import filters, large_answers, waiting_for, withdrawal
from . import submission as acceptance
from .large_answers import task_reply
from .submission import TaskFields, accepted_reply, checked_fields, digest, idempotency_key
from .views import (
    ChunkListView,
    PlanView,
    TaskListView,
    TaskView,
    TaskWithChunksView,
    WholeTaskView,
    chunk_view,
    counts_view,
    task_view,
    whole_task_view,
)


async def submit(exchange: Exchange, model: type[TaskFields]) -> Reply:
    """Accept a task, or find the one of an equal Idempotency-Key; with `dryRun=true` only show the plan."""
    api, dry = exchange.api, queries.is_true(exchange.query, "dryRun")
    key = idempotency_key(exchange.request.headers)
    body = await acceptance.read_submission(exchange)
    fields = checked_fields(model, body, api.settings)
    request = await fields.with_text(exchange, fields.request(), may_be_replayed=key is not None and not dry)
    if dry:
        from . import dry_run  # noqa: PLC0415 - seldom requested (docs/decisions/python.md#d0033)

        with acceptance.cut_flaws():
            return await dry_run.show(request, api)
    exchange = await _routed(exchange)
    accepted = await acceptance.accept(exchange, request, key, digest(body) if key is not None else "")
    return await accepted_reply(exchange, accepted.task, acceptance.replayed(accepted))


async def _routed(exchange: Exchange) -> Exchange:
    """Return an exchange that sends by the route an operator names. Raises Refusal: 403, 422 without it."""
    api, name = exchange.api, exchange.request.headers.get(ROUTE.name.lower())
    if name is None:
        return exchange
    await caller_of(exchange.request, api, Access.OPERATOR)
    if name not in set(Route) or not api.dispatcher.has(Route(name)):
        raise queries.refused(ROUTE.name, "must be a route that this deployment has")
    submission = replace(api.submission, dispatcher=api.dispatcher.only(Route(name)))
    return replace(exchange, api=replace(api, submission=submission))


async def read_task(exchange: Exchange) -> Reply:
    """Show a task. With `wait` the answer comes when the task has ended or the wait is over."""
    api, key = exchange.api, exchange.task_key
    seconds, included = queries.wait_seconds(exchange.query), queries.included(exchange.query)
    task = await wait.current(api, key, seconds, reads_after=len(included))
    if task is None:
        raise no_task()
    headers = waiting_for.retry_after(api, task)
    view = whole_task_view(task, api, exchange.acting)
    if "input" in included:
        view["input"] = await api.store.input(key)
    return await task_reply(api.store, 200, task, view, headers, chunks_too="chunks" in included)


async def read_chunks(exchange: Exchange) -> Reply:
    """Show a task's finished chunks in order: all of them, or a page."""
    store, key = exchange.api.store, exchange.task_key
    limit, first = queries.chunks_limit(exchange.query), queries.chunks_start(exchange.query)
    if limit is None and not first:
        with suppress(TooMuchAtOnce):
            found = await store.indexed_chunks(key)
            if found is None:
                raise no_task()
            cuts, chunks = found[0].cuts, found[1]
            whole = ChunkListView(chunks=[chunk_view(chunk) for chunk in chunks], nextCursor=None)
            return json_reply(200, whole if cuts else await _with_output_file(exchange, whole))
    index = await store.chunk_index(key)
    if index is None:
        raise no_task()
    if limit is None and index.cuts:
        return large_answers.chunks_reply(store, index, first)
    pages = index.pages(first, limit or limits.CHUNKS_MOST)
    try:
        shown = [] if (page := next(pages, None)) is None else await store.some_chunks(index, page, with_rejected=True)
    except TaskGone:
        raise no_task() from None
    cursor = None if page is None or next(pages, None) is None else str(page.stop)
    view = ChunkListView(chunks=[chunk_view(chunk) for chunk in shown], nextCursor=cursor)
    return json_reply(200, view if index.cuts else await _with_output_file(exchange, view))


async def _with_output_file(exchange: Exchange, view: ChunkListView) -> ChunkListView:
    """Add to a list without chunks where the outputs are, if they are elsewhere."""
    for kind in exchange.api.kind_apis():
        view = cast("ChunkListView", {**view, **await kind.shown(exchange)})
    return view


async def list_tasks(exchange: Exchange) -> Reply:
    """Show a page of the tenant's tasks, newest first."""
    if exchange.acting.whose == EVERYONE:
        from . import across  # noqa: PLC0415 - few keys may do this (docs/decisions/python.md#d0033)

        return await across.read_page(exchange, page_of)
    limit, before = queries.page_limit(exchange.query), queries.page_start(exchange.query)
    counted = queries.is_true(exchange.query, "counts")
    shown, next_cursor = await page_of(exchange, exchange.tenant, before, limit)
    page = TaskListView(tasks=shown, nextCursor=next_cursor)
    if counted:
        api, where = exchange.api, filters.span(exchange.tenant, exchange.query)
        only = filters.read(exchange.query, api.provider.default_model)
        page["counts"] = counts_view(await api.store.counts(where, only))
    return json_reply(200, page)


async def page_of(exchange: Exchange, tenant: str, before: str | None, most: int) -> tuple[list[TaskView], str | None]:
    """Read a page of a tenant's tasks, and the cursor of the next page."""
    only = filters.read(exchange.query, exchange.api.provider.default_model)
    page = await exchange.api.store.list(filters.span(tenant, exchange.query, before), only=only, most=most)
    shown = [task for task in await _all_up_to_date(exchange.api, page.tasks) if only.takes(task)]
    next_cursor = None if page.last is None else queries.cursor(split_task_key(page.last)[1])
    return [task_view(task, exchange.api, exchange.acting) for task in shown], next_cursor


async def cancel_task(exchange: Exchange) -> Reply:
    """Cancel a task. If the task is already cancelled, the call succeeds, because a client may repeat its request."""
    api = exchange.api
    changed, task = await withdrawal.ended_by_client(api, exchange.task_key, asyncio.get_running_loop().time())
    if not changed and task.status is not Status.CANCELLED:
        raise Refusal(ALREADY_TERMINAL, f"The task is already {task.status}.")
    return json_reply(200, whole_task_view(exchange.visible(task), api, exchange.acting))


async def erase_task(exchange: Exchange) -> Reply:
    """Erase a task with input, chunks and result. A worker that works on the task finds its claim gone."""
    # `is_there` refuses an id without a task before the erasure, so that an erasure that finds no task afterwards is
    # known to be the repetition of an erasure whose answer was lost.
    if not await exchange.api.store.is_there(exchange.task_key) or not await withdrawal.erase_task(
        exchange.api, exchange.task_key
    ):
        raise no_task()
    return Reply(204)


async def _all_up_to_date(api: Api, tasks: Sequence[Task]) -> Iterable[Task]:
    """Fail the tasks whose deadline has passed, and read these tasks again. Erased tasks are left out."""
    overdue = [task.task_key for task in tasks if task.overdue]
    if not overdue or not await wait.expired(api, overdue):
        return tasks
    now = {task.task_key: task for task in await api.store.tasks(overdue)}
    return (now.get(task.task_key, task) for task in tasks if task.task_key in now or not task.overdue)


ROUTE: Final = Parameter(
    "X-Onceover-Route",
    "Sends the task by this route alone. It needs a key of the operator's tenant with `admin` too, and changes nothing "
    "for a repeated submission.",
    {"type": "string", "enum": list(Route)},
    "header",
)
_WAIT = {"type": "number", "minimum": 0, "maximum": limits.WAIT_SECONDS_MOST, "default": 0}
_MOMENT = {"type": "string", "format": "date-time"}
# The pattern of the cursor of a list of tasks. With `tenant=*` a cursor begins with a tenant's name and a colon;
# nothing follows if the page begins with the tenant's first task.
_CURSOR = {"type": "string", "pattern": f"^(?:{TENANT_PATTERN}:)?{queries.CURSOR_PATTERN}$|^{TENANT_PATTERN}:$"}
_CHUNKS_CURSOR = {"type": "string", "pattern": "^(?:[0-9]{1,3}|[1-4][0-9]{3}|5000)$"}  # CHUNKS_MOST
_CHUNKS_LIMIT = {"type": "integer", "minimum": 1, "maximum": limits.CHUNKS_MOST}

ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/tasks",
        summary="List tasks without their results, newest first; with `tenant=*` one tenant after the other",
        handler=list_tasks,
        access=Scope.READ,
        reach=Reach.EACH,
        parameters=(
            *filters.PARAMETERS,
            Parameter("createdAfter", "Only tasks created after this time.", _MOMENT),
            Parameter("createdBefore", "Only tasks created before this time.", _MOMENT),
            Parameter("limit", "How many tasks at most.", queries.LIMIT),
            Parameter("cursor", "The `nextCursor` of the previous page.", _CURSOR),
            Parameter(
                "counts",
                f"`true` adds how many of the newest {limits.LIST_WALK_MOST} tasks have each status. It does not go "
                "with `tenant=*`.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
        ),
        answers=(Answer(200, "A page of tasks", (TaskListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}",
        summary="Read a task, with its result once it has completed",
        handler=read_task,
        access=Scope.READ,
        reach=Reach.ONE,
        parameters=(
            Parameter("wait", "Seconds to wait for the task's end before answering.", _WAIT),
            Parameter(
                "include",
                "What else to show: the finished `chunks`, the `input` while it is kept, or both.",
                {"type": "string", "enum": ["chunks", "input", "chunks,input", "input,chunks"]},
            ),
        ),
        answers=(
            Answer(
                200,
                "The task; with `include=chunks` its finished chunks too",
                (WholeTaskView, TaskWithChunksView),
                ("Retry-After",),
                OF_TASK,
            ),
        ),
    ),
    Endpoint(
        method="DELETE",
        path="/api/tasks/{id}",
        summary="Cancel a task if needed, and erase its input, chunks and result",
        handler=erase_task,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(204, "Erased"),),
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/chunks",
        summary="Read the finished chunks in order, also before the task has completed",
        handler=read_chunks,
        parameters=(
            Parameter("limit", "How many chunks at most; by default all.", _CHUNKS_LIMIT),
            Parameter("cursor", "The `nextCursor` of the previous page.", _CHUNKS_CURSOR),
        ),
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The finished chunks", (ChunkListView,)),),
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/cancel",
        summary="Cancel a task: no model call starts afterwards",
        handler=cancel_task,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(200, "The task, cancelled", (WholeTaskView,), leads_to=OF_TASK),),
        problems=(problems.ALREADY_TERMINAL,),
    ),
)


def endpoints(model: type[TaskFields]) -> Sequence[Endpoint]:
    """Return the calls with a submission whose body is a `model`."""

    async def submit_task(exchange: Exchange) -> Reply:
        return await submit(exchange, model)

    submission = Endpoint(
        method="POST",
        path="/api/tasks",
        summary="Submit a text; once this answers, the task is durable in the database",
        handler=submit_task,
        access=Scope.WRITE,
        reach=Reach.ONE,
        body=model,
        is_shed=True,
        parameters=(
            IDEMPOTENCY_KEY,
            ROUTE,
            Parameter(
                "dryRun",
                "`true` checks the request, shows its plan and stores nothing.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
        ),
        answers=(
            Answer(200, "With `dryRun=true`: the plan; nothing is stored", (PlanView,)),
            Answer(202, "Accepted", (WholeTaskView,), ("Location", "Retry-After", "Idempotency-Replayed"), OF_TASK),
        ),
        problems=(problems.UNSUPPORTED_SCHEMA, problems.NOT_JOINABLE, problems.NO_PRICE, problems.COST_LIMIT),
    )
    listing, *others = ENDPOINTS
    listing = listing._replace(parameters=(*filters.of_extras(extra_names(model)), *listing.parameters))
    return (submission, listing, *others)
