"""The calls of `/v1/batches` and of the paths below it."""

import asyncio
from typing import Final

from ....kernel.api.base import problems
from ....kernel.api.base.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Parameter
from ....kernel.api.base.exchange import Exchange, Reach
from ....kernel.api.base.fields import LIMIT, page_limit, read_object, refused
from ....kernel.api.base.messages import Reply, json_reply
from ....kernel.api.base.problems import ALREADY_TERMINAL, NOT_FOUND, Refusal
from ....kernel.api.follow import wait
from ....kernel.api.tasks import submission, withdrawal
from ....kernel.api.tasks.submission import JOINING, admitted, digest, idempotency_key, limit_reached, mismatch
from ....kernel.api.tasks.waiting_for import retry_after
from ....kernel.domain import limits
from ....kernel.domain.ids import BATCH_ID_PATTERN, TaskKey, file_key_of, split_task_key, task_id_of_batch, task_key_of
from ....kernel.domain.keys import Scope
from ....kernel.domain.task import Kind
from ....kernel.store.admission import LimitReached, Mismatched
from ....kernel.store.resend import Resend
from ...files.store import file_store
from ..status import ENDED, BatchStatus
from ..store.batches import Batch, BatchStore, InputMissing
from ..work.submission import BatchRequest, SubmittedBatch, earlier_batch, submit_batch
from .fields import NewBatchFields, new_fields, new_request, no_input
from .shapes import BatchListView, BatchView, batch_view

_SOON = {"Retry-After": "1"}
_CANCELLING = frozenset({BatchStatus.CANCELLING, BatchStatus.CANCELLED})


async def create_batch(exchange: Exchange) -> Reply:
    """Accept a batch when it is durable in D1, or find that an earlier request made it."""
    key = idempotency_key(exchange.request.headers)
    body = await read_object(exchange.request, limits.BATCH_BODY_BYTES_MOST)
    fields = new_fields(body)
    file_key = file_key_of(exchange.tenant, fields.input_file_id)
    if file_key is None:
        raise no_input()
    # A request for a response with an equal body has another digest.
    name = digest({"batch": body})
    resend = None if key is not None else submission.resend(exchange, name)
    input_file = await file_store(exchange.api.invocation).file(file_key)
    if input_file is None:
        # The file may have been deleted since an earlier send of the same request made its batch.
        accepted = await _earlier(exchange, key, name, resend)
    else:
        accepted = await _accept(exchange, new_request(fields, input_file), key, name, resend)
    headers = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
    return _reply(exchange, accepted.batch, headers)


async def list_batches(exchange: Exchange) -> Reply:
    """Show a page of the tenant's batches, newest first. With `tenant=*` one tenant follows the other."""
    api, tenant = exchange.api, exchange.acting.listed_tenant
    store = api.store.beside(BatchStore)
    after, limit = await _page(exchange, store)
    found = await store.batches(tenant, after, limit + 1)
    overdue = [batch.task.task_key for batch in found if batch.task.overdue]
    if overdue and await wait.expired(api, overdue):
        found = await store.batches(tenant, after, limit + 1)
    shown = [batch_view(batch, api) for batch in found[:limit]]
    if tenant is None:
        owners = [split_task_key(batch.task.task_key)[0] for batch in found[:limit]]
        for owner in dict.fromkeys(owners):
            exchange.acting.enter(owner)
        shown = [BatchView(**view, tenant=owner) for view, owner in zip(shown, owners, strict=True)]
    view = BatchListView(
        object="list",
        data=shown,
        first_id=shown[0]["id"] if shown else None,
        last_id=shown[-1]["id"] if shown else None,
        has_more=len(found) > limit,
    )
    return json_reply(200, view)


async def read_batch(exchange: Exchange) -> Reply:
    """Show a batch. If its worker is late, or if it has ended without complete files, it is helped."""
    api, key = exchange.api, _task_key(exchange)
    store = api.store.beside(BatchStore)
    batch = _check(await store.batch(key))
    task = batch.task
    if task.overdue or task.late or task.unanswered:
        await wait.current(api, key)
        batch = _check(await store.batch(key))
    if batch.task.status.terminal and batch.ended_at is None:
        api.rescue.after_end(key, Kind.BATCH)
    return _reply(exchange, batch)


async def cancel_batch(exchange: Exchange) -> Reply:
    """Cancel a batch: no new call starts, and what was out is kept. A cancelled batch is shown unchanged."""
    began, api, key = asyncio.get_running_loop().time(), exchange.api, _task_key(exchange)
    store = api.store.beside(BatchStore)
    batch = _check(await store.batch(key))
    if not batch.task.status.terminal or batch.status in _CANCELLING:
        # For a batch that is already cancelled the answer waits as well: an announced call may still start, and the
        # answer promises that none will.
        await withdrawal.ended_by_client(api, key, began)
        batch = _check(await store.batch(key))
    if batch.status not in _CANCELLING:
        raise Refusal(ALREADY_TERMINAL, f"The batch is {batch.status}, so it cannot be cancelled.")
    if batch.ended_at is None:
        api.rescue.after_end(key, Kind.BATCH)
    return _reply(exchange, batch)


async def _accept(
    exchange: Exchange, request: BatchRequest, key: str | None, name: str, resend: Resend | None
) -> SubmittedBatch:
    """Submit a batch for a checked request. Raises Refusal with the reason if it is refused."""
    api = exchange.api
    with admitted(api):
        outcome = await submit_batch(api.submission, exchange.tenant, request, key, name, resend)
    match outcome:
        case SubmittedBatch():
            return outcome
        case InputMissing():
            raise no_input()
        case Mismatched():
            raise mismatch()
        case LimitReached(limit):
            raise limit_reached(limit, api)


async def _earlier(exchange: Exchange, key: str | None, name: str, resend: Resend | None) -> SubmittedBatch:
    """Find the batch of an earlier send of a request whose input file is gone. Raises Refusal (400) without one."""
    found = await earlier_batch(exchange.api.submission, exchange.tenant, key, name, resend)
    if isinstance(found, Mismatched):
        raise mismatch()
    if found is None:
        raise no_input()
    return found


def _reply(exchange: Exchange, batch: Batch, headers: dict[str, str] | None = None) -> Reply:
    """Answer with a batch, and when to ask again if it goes on."""
    later: dict[str, str] = {}
    if batch.status not in ENDED:
        later = _SOON if batch.task.status.terminal else retry_after(exchange.api, batch.task)
    return json_reply(200, batch_view(batch, exchange.api, may_read=exchange.may_read), {**later, **(headers or {})})


async def _page(exchange: Exchange, store: BatchStore) -> tuple[TaskKey | None, int]:
    """Read `after` and `limit`. Raises Refusal (400); without one tenant also for a batch that is gone."""
    query, after, tenant = exchange.query, None, exchange.acting.listed_tenant
    if "after" in query:
        task_id = task_id_of_batch(query["after"])
        if task_id is None:
            raise refused("after", "must be the id of a batch")
        after = await store.of_some_tenant(task_id) if tenant is None else task_key_of(tenant, task_id)
        if after is None:
            raise refused("after", "names a batch that no longer exists: begin again")
    return after, page_limit(query)


def _task_key(exchange: Exchange) -> TaskKey:
    """Return the key of the batch's task. Raises Refusal (404) for a malformed id, without a D1 call."""
    task_id = task_id_of_batch(exchange.parts["id"])
    if task_id is None:
        raise _no_batch()
    return task_key_of(exchange.tenant, task_id)


def _check(batch: Batch | None) -> Batch:
    if batch is None:
        raise _no_batch()
    return batch


def _no_batch() -> Refusal:
    return Refusal(NOT_FOUND, "There is no batch with this id.")


_ID = {"type": "string", "pattern": f"^{BATCH_ID_PATTERN}$"}
_OF_BATCH = (("readBatch", "id", "/id"), ("cancelBatch", "id", "/id"))
_LATER = ("Retry-After", "openai-poll-after-ms")

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/batches",
        summary="Start a batch over an uploaded file; once this answers, the batch is durable in the database",
        handler=create_batch,
        access=Scope.WRITE,
        reach=Reach.ONE,
        body=NewBatchFields,
        is_shed=True,
        parameters=(IDEMPOTENCY_KEY, *JOINING),
        answers=(Answer(200, "Accepted", (BatchView,), (*_LATER, "Idempotency-Replayed"), _OF_BATCH),),
        problems=(problems.UNSUPPORTED_PARAMETER,),
    ),
    Endpoint(
        method="GET",
        path="/v1/batches",
        summary="List the tenant's batches, newest first; with `tenant=*` one tenant after the other",
        handler=list_batches,
        access=Scope.READ,
        reach=Reach.EACH,
        parameters=(
            Parameter("after", "The id of the last batch of the previous page.", _ID),
            Parameter("limit", "How many batches at most.", LIMIT),
        ),
        answers=(Answer(200, "The batches", (BatchListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/batches/{id}",
        summary="Read a batch: its status, its counts and its files",
        handler=read_batch,
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The batch", (BatchView,), _LATER, _OF_BATCH),),
        id_schema=_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/batches/{id}/cancel",
        summary="Cancel a batch: no model call starts afterwards, and the answers that it has are kept",
        handler=cancel_batch,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(200, "The batch", (BatchView,), _LATER, _OF_BATCH),),
        problems=(problems.ALREADY_TERMINAL,),
        id_schema=_ID,
    ),
)
