"""Makes the answers that show a response, with headers that say when to poll again.

An answer with a large text is sent in parts.
"""

import json
from collections.abc import AsyncGenerator, Mapping

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.services import Api
from ...kernel.api.tasks.large_answers import JSON, chunk_index, joined_value, outputs_text
from ...kernel.api.tasks.waiting_for import retry_after
from ...kernel.domain.task import Status, Task
from ...kernel.store.rows import ChunkIndex
from .shapes import ResponseView
from .view import response_view

# A placeholder for the text of a response in an answer. No text of a client contains NUL, because a request with NUL is
# refused.
_HERE = "\0"


async def response_reply(
    exchange: Exchange, status: int, task: Task, headers: Mapping[str, str] | None = None
) -> Reply:
    """Show a response, without its texts if the key lacks the scope `read`.

    Raises Refusal (404) if the response was erased.
    """
    api = exchange.api
    later = {} if task.status.terminal else retry_after(api, task)
    headers = {**later, **(headers or {})}
    view = response_view(exchange.visible(task), api)
    if not exchange.may_read:
        view["output"] = []
        return json_reply(status, view, headers)
    if task.status is not Status.COMPLETED or task.result is not None:
        return json_reply(status, view, headers)
    index = await chunk_index(api.store, task)
    return Reply(status, headers={**JSON, **headers}, parts=_parts(api, task, view, index))


async def _parts(api: Api, task: Task, view: ResponseView, index: ChunkIndex) -> AsyncGenerator[str]:
    """Write a response whose text was too large to be read with the task: it is read and sent part by part."""
    message, *_ = view["output"]
    message["content"][0]["text"] = _HERE
    before, _, after = json.dumps(view, ensure_ascii=False).partition(json.dumps(_HERE))
    yield before
    async for part in outputs_text(api.store, task, index, joined_value(api.store, task, index)):
        yield part
    yield after
