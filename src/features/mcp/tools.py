"""The tools: what a model reads about them, their arguments, and what they do.

Descriptions and answers are written for the model, and each answer says what to do next. A refusal is an answer too,
so that the model can correct its arguments. Only a key without the tool's scope is refused to the client itself.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from ...kernel.api.access.access import caller_of
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import Asked, Whole, checked, compact_json, page_start
from ...kernel.api.base.problems import Refusal, no_task
from ...kernel.api.follow import wait
from ...kernel.api.tasks.endpoints import cancel_task, page_of
from ...kernel.api.tasks.large_answers import chunk_index, joined_value, outputs_text, values_text
from ...kernel.api.tasks.submission import accept, checked_fields, digest
from ...kernel.api.tasks.views import has_schema, task_view
from ...kernel.api.tasks.waiting_for import retry_after
from ...kernel.domain import limits
from ...kernel.domain.keys import Scope
from ...kernel.domain.task import CONCAT_SEPARATOR, Kind, Reduce, Status, Task
from ...kernel.store.rows import ChunkIndex
from ...kernel.store.tasks import TaskStore
from .. import NewTaskFields

PAGE_CHARS = 50_000

type Json = dict[str, Any]


class AnalyseArguments(NewTaskFields):
    """A submission, with its name."""

    idempotency_key: Annotated[str, Field(pattern=f"^[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MOST}}}$")] | None = Field(
        None,
        description="Your name for this piece of work, without spaces. Always set it: if the answer is lost, the same "
        "call with the same name finds the task instead of paying for a second one. It lasts 24 hours.",
    )


class TaskArguments(Asked):
    """The task that a call is about."""

    id: str = Field(description="The task's id, from analyse or list.")


class WaitArguments(TaskArguments):
    """The arguments of `wait`."""

    seconds: Annotated[float, Field(ge=0, le=limits.WAIT_SECONDS_MOST)] = Field(
        limits.WAIT_SECONDS_MOST, description="How long to wait for the end. 0 returns the state at once."
    )


class ResultArguments(TaskArguments):
    """The arguments of `result`."""

    page: Annotated[int, Field(ge=1, le=100_000), Whole] = Field(1, description="Which page to read, from 1 on.")


class ListArguments(Asked):
    """The arguments of `list`."""

    status: Annotated[Status, Field(strict=False)] | None = Field(None, description="Only tasks of this status.")
    limit: Annotated[int, Field(ge=1, le=limits.LIST_LIMIT_MOST), Whole] = Field(10, description="How many at most.")
    cursor: str | None = Field(None, description="The nextCursor of the page before.")


class Unmet(Exception):
    """Raised if a tool cannot do what the model wants. The text says why."""


class Tool(NamedTuple):
    """A tool, the model of its arguments, and the scope that a key needs for it."""

    name: str
    scope: Scope
    arguments: type[Asked]
    run: Callable[[Exchange, Json], Awaitable[list[str]]]
    description: str

    def view(self) -> Json:
        """Return the tool as `tools/list` shows it, with hints for clients that ask a person before a call."""
        schema = self.arguments.model_json_schema()
        # Providers of models refuse a schema with alternatives at its root. The other two are about our class.
        schema = {name: value for name, value in schema.items() if name not in {"oneOf", "title", "description"}}
        hints = {"readOnlyHint": self.scope is Scope.READ, "destructiveHint": self.name == "cancel"}
        hints |= {"idempotentHint": True, "openWorldHint": False}
        return {"name": self.name, "description": self.description, "inputSchema": schema, "annotations": hints}


async def call(exchange: Exchange, tool: Tool, arguments: Json) -> tuple[list[str], bool]:
    """Call a tool. Returns texts for the model, and whether it failed. Raises Refusal (403: scope) and StoreError."""
    await caller_of(exchange.request, exchange.api, tool.scope)
    try:
        return await tool.run(exchange, arguments), False
    except Unmet as unmet:
        return [str(unmet)], True
    except Refusal as refusal:
        again = refusal.headers.get("Retry-After")
        later = "" if again is None else f" Try again in {again} s."
        return [f"{refusal.kind.title} ({refusal.kind.code}): {refusal.detail}{later}"], True


async def _analyse(exchange: Exchange, arguments: Json) -> list[str]:
    fields = checked_fields(AnalyseArguments, arguments, exchange.api.settings)
    assert isinstance(fields, AnalyseArguments)
    key = fields.idempotency_key
    request = await fields.with_text(exchange, fields.request(), may_be_replayed=key is not None)
    body = {name: value for name, value in arguments.items() if name != "idempotencyKey"}
    return [_state(exchange, (await accept(exchange, request, key, digest(body))).task)]


async def _wait(exchange: Exchange, arguments: Json) -> list[str]:
    asked = checked(WaitArguments, arguments)
    return [_state(exchange, await _found(exchange, asked.id, asked.seconds))]


async def _result(exchange: Exchange, arguments: Json) -> list[str]:
    asked = checked(ResultArguments, arguments)
    task = await _found(exchange, asked.id)
    if task.status is not Status.COMPLETED:
        raise Unmet(_state(exchange, task))
    if task.kind is Kind.BATCH:
        raise Unmet("This is a batch: its results are files of /v1/files, which no tool reads.")
    text, more = await _page(exchange.api.store, task, (asked.page - 1) * PAGE_CHARS)
    if not text and asked.page > 1:
        raise Unmet(f"The result ends before page {asked.page}.")
    then = f"More follows: call result with page {asked.page + 1}." if more else "This is the last page."
    return [text, compact_json({"id": task.id, "page": asked.page, "next": then})]


async def _cancel(exchange: Exchange, arguments: Json) -> list[str]:
    reply = await cancel_task(replace(exchange, parts={"id": checked(TaskArguments, arguments).id}))
    return [compact_json(_brief(json.loads(reply.body)))]


async def _list(exchange: Exchange, arguments: Json) -> list[str]:
    asked = checked(ListArguments, arguments)
    query = {name: str(value) for name, value in asked.model_dump(exclude_none=True).items()}
    page = await page_of(replace(exchange, query=query), exchange.tenant, page_start(query), asked.limit)
    return [compact_json({"tasks": [_brief(view) for view in page[0]], "nextCursor": page[1]})]


async def _found(exchange: Exchange, task_id: str, seconds: float = 0.0) -> Task:
    task = await wait.current(exchange.api, replace(exchange, parts={"id": task_id}).task_key, seconds)
    if task is None:
        raise no_task()
    return task


async def _page(store: TaskStore, task: Task, start: int) -> tuple[str, bool]:
    """Return the page of a task's result that begins at the character `start`, and whether more follows."""
    at, parts = await _parts(store, task, start)
    end, taken = start + PAGE_CHARS, ""
    async with aclosing(parts):
        async for part in parts:
            taken += part[max(0, start - at) : max(0, end - at)]
            at += len(part)
            if at > end:
                break
    return taken, at > end


async def _parts(store: TaskStore, task: Task, start: int) -> tuple[int, AsyncGenerator[str]]:
    """Return a result in parts: one text, or JSON for a task with a schema or with `reduce: none`.

    Also returns how many of the characters before `start` are left out, because reading them takes D1 calls.
    """
    if isinstance(task.result, str):
        return 0, _one(task.result)
    if task.result is not None:
        return 0, _one(json.dumps(task.value if has_schema(task) else task.result, ensure_ascii=False))
    index, at = await chunk_index(store, task), 0
    if (joined := joined_value(store, task, index)) is not None:
        return 0, joined.parts() if await joined.join() else _one("null")
    if task.options.reduce is Reduce.NONE:
        return 0, values_text(store, index) if has_schema(task) else outputs_text(store, task, index, None)
    for place in sorted(index.sizes):
        behind = at + index.sizes[place] + len(CONCAT_SEPARATOR)
        if behind > start:
            return at, _joined(store, index, place)
        at = behind
    return at, _one("")


async def _one(text: str) -> AsyncGenerator[str]:
    yield text


async def _joined(store: TaskStore, index: ChunkIndex, first: int) -> AsyncGenerator[str]:
    before = ""
    for places in index.pages(first):
        for chunk in await store.some_chunks(index, places):
            if chunk.output is not None:
                yield before + chunk.output
                before = CONCAT_SEPARATOR


def _state(exchange: Exchange, task: Task) -> str:
    """Write a task's state, and what to do next."""
    again = retry_after(exchange.api, task).get("Retry-After")
    then = _NEXT.get(task.status, f"Call wait with this id, now or after {again} s of other work.")
    return compact_json(_brief(task_view(exchange.visible(task), exchange.api, exchange.acting)) | {"next": then})


_NEXT: Final = {
    Status.COMPLETED: "Call result with this id.",
    Status.FAILED: "There is no result. To try again, call analyse with a new idempotencyKey.",
    Status.CANCELLED: "There is no result, and none will come.",
}
_BRIEF = ("id", "name", "status", "progress", "waitingFor", "error", "usage", "createdAt", "finishedAt")


def _brief(view: Mapping[str, Any]) -> Json:
    return {name: view[name] for name in _BRIEF}


_TEXTS = {
    "analyse": "Works through a long text with a model in the background, in parts that fit the model: to summarise, "
    "translate, extract or review it. Use it for a text that is too long for this conversation, or if each part needs "
    "the same care. `input` is the text, and `instructions` say what to do with each part. Each part is a paid call of "
    "the model, which sees no other part; `reduce` `merge` makes one answer of all outputs by further calls, and "
    "`maxModelCalls` caps them all. Returns at once, with an id and with when to ask again. Then call wait, and at the "
    "end result.",
    "wait": f"Waits until a task has ended, at most {limits.WAIT_SECONDS_MOST} s, and returns its state, progress and "
    "bill. Call it again while `status` is pending or processing. A task takes minutes to hours, and goes on without "
    "you. `waitingFor` says why nothing happens.",
    "result": f"Returns the result of a completed task in pages of at most {PAGE_CHARS} characters: the text of the "
    "page, and then whether more follows. Read only the pages that you need. With `outputSchema` or with `reduce` "
    "`none` the result is JSON. If the task has not completed, the answer is its state. Then call wait.",
    "cancel": "Cancels a task whose result is no longer needed. No call of the model starts afterwards; those made "
    "before are paid. There is no result then. To cancel again changes nothing, and a task that has ended is refused.",
    "list": "Lists tasks, the newest first, with state, progress and bill, but without results. Use it to find a task "
    "whose id you have lost.",
}
TOOLS: Final = {
    name: Tool(name, scope, arguments, run, _TEXTS[name])
    for name, scope, arguments, run in (
        ("analyse", Scope.WRITE, AnalyseArguments, _analyse),
        ("wait", Scope.READ, WaitArguments, _wait),
        ("result", Scope.READ, ResultArguments, _result),
        ("cancel", Scope.WRITE, TaskArguments, _cancel),
        ("list", Scope.READ, ListArguments, _list),
    )
}
