"""Makes the answers that show a response, and say when to poll again. A large text is sent in parts."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, cast

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.services import Api
from ...kernel.api.tasks.large_answers import JSON, chunk_index, joined_value, outputs_text, quotes_text
from ...kernel.api.tasks.views import QuoteView, has_quotes
from ...kernel.api.tasks.waiting_for import retry_after
from ...kernel.domain.task import Status, Task
from ...kernel.store.rows import ChunkIndex
from ...kernel.store.tasks import TaskStore
from .shapes import ResponseView
from .view import response_view

if TYPE_CHECKING:
    from ...kernel.api.tasks.joined_value import JoinedValue

# Stands for a response's text in an answer or event. No client's text has NUL, because such requests are refused.
HERE = "\0"
QUOTES_HERE = "\0quotes"  # the same for its quotes


async def response_reply(
    exchange: Exchange, status: int, task: Task, headers: Mapping[str, str] | None = None
) -> Reply:
    """Show a response, without its texts if the key lacks `read`. Raises Refusal (404) if it was erased."""
    api = exchange.api
    headers = {**retry_after(api, task), **(headers or {})}
    view = response_view(exchange.visible(task), api)
    if not exchange.may_read:
        view["output"] = []
        view["onceover"].pop("quotes", None)
        return json_reply(status, view, headers)
    if task.status is not Status.COMPLETED or task.result is not None:
        return json_reply(status, view, headers)
    index = await chunk_index(api.store, task)
    return Reply(status, headers={**JSON, **headers}, parts=_parts(api, task, view, index))


async def _parts(api: Api, task: Task, view: ResponseView, index: ChunkIndex) -> AsyncGenerator[str]:
    """Write a response whose text was too large to be read with the task: it is read and sent part by part."""
    message, *_ = view["output"]
    message["content"][0]["text"] = HERE
    with_quotes_here(view, task)
    before, _, after = json.dumps(view, ensure_ascii=False).partition(json.dumps(HERE))
    yield before
    joined = joined_value(api.store, task, index)
    async for part in outputs_text(api.store, task, index, joined):
        yield part
    async for part in rest_with_quotes(api.store, after, index, joined):
        yield part


def with_quotes_here(view: ResponseView, task: Task) -> None:
    """Put the placeholder of the quotes into the view of a response whose text is large."""
    if has_quotes(task):
        view["onceover"]["quotes"] = cast("list[QuoteView]", QUOTES_HERE)


async def rest_with_quotes(
    store: TaskStore, rest: str, index: ChunkIndex, joined: "JoinedValue | None"
) -> AsyncGenerator[str]:
    """Write the rest of an answer, behind its text, with the quotes in the place of their placeholder."""
    before, here, after = rest.partition(json.dumps(QUOTES_HERE))
    yield before
    if here:
        async for part in quotes_text(store, index, joined):
            yield part
    yield after
