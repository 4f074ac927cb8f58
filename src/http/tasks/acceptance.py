"""Accepts a submission of the native API or of `/v1`, and makes the native API's answer 202."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...core import limits
from ...core.errors import TextFileGone
from ...core.task import Task
from ...core.text.chunks import TooManyChunks
from ...processing.submission import Submitted
from ...processing.task_request import BudgetTooSmall, TaskRequest, TooMuchRepeated
from ...store.admission import LimitReached, Mismatched
from ..base.bodies import read_object
from ..base.exchange import Exchange
from ..base.messages import Reply, json_reply
from ..base.problems import field_refusal, overload_refusal
from ..base.services import Api
from .conditions import (
    budget_too_small,
    limit_reached,
    mismatch,
    no_such_file,
    too_many_chunks,
    too_much_repeated,
)
from .large_answers import task_reply
from .task_views import task_path, whole_task_view
from .waiting_for import retry_after

if TYPE_CHECKING:
    from ...store.joining import Joining


async def read_submission(exchange: Exchange) -> dict[str, object]:
    """Read the body of a submission. The size limit leaves space for the largest input with all characters escaped."""
    most = exchange.api.settings.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES
    return await read_object(exchange.request, most)


async def accept(
    exchange: Exchange, request: TaskRequest, key: str | None, body_digest: str, joining: "Joining | None" = None
) -> Submitted:
    """Submit a task for a checked request. Raises Refusal with the reason if the task is refused."""
    api = exchange.api
    with admitted(api), cut_flaws():
        outcome = await api.submission.submit(exchange.tenant, request, key, body_digest, joining)
    match outcome:
        case Submitted():
            return outcome
        case Mismatched():
            raise mismatch()
        case LimitReached(limit):
            raise limit_reached(limit, api)


@contextmanager
def admitted(api: Api) -> Iterator[None]:
    """Submit within this context. Raises Refusal (503) while the database is overloaded."""
    load, clock = api.isolate.load, asyncio.get_running_loop().time
    try:
        if not load.admits(clock()):
            raise overload_refusal()
        yield
    finally:
        load.unprobed(clock())  # a request that was refused without a D1 call has not probed the overloaded database


@contextmanager
def cut_flaws() -> Iterator[None]:
    """Turn an error of cutting the input into a refusal that names the field at fault."""
    try:
        yield
    except TooManyChunks as error:
        raise field_refusal([too_many_chunks(error.most)]) from None
    except BudgetTooSmall as error:
        raise field_refusal([budget_too_small(error.minimum)]) from None
    except TooMuchRepeated as error:
        raise field_refusal([too_much_repeated(error.mostly)]) from None
    except TextFileGone:
        raise field_refusal([no_such_file()]) from None


def replayed(accepted: Submitted) -> dict[str, str]:
    """Return the header that says that an earlier request made the task, or no header if the present request did."""
    return {"Idempotency-Replayed": "true"} if accepted.replayed else {}


async def accepted_reply(exchange: Exchange, task: Task, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer 202 with the task and its path. The task of a repeated request may have ended already."""
    api = exchange.api
    later = {} if task.status.terminal else retry_after(api, task)
    headers = {"Location": f"{task_path(task.id)}{exchange.acting.query(task.task_key)}", **later, **(headers or {})}
    view = whole_task_view(exchange.visible(task), api, exchange.acting)
    if not exchange.may_read:  # without the scope `read` no result is shown, so a large one is not read
        return json_reply(202, view, headers)
    return await task_reply(api.store, 202, task, view, headers)
