"""The calls of `/v1/responses` and of the paths below it, and the entries of all calls of this feature."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import is_true, refused
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import INVALID_FIELDS, NOT_FOUND, Refusal, field_refusal, forbidden
from ...kernel.api.follow import sse, wait
from ...kernel.api.tasks import submission, withdrawal
from ...kernel.api.tasks.submission import digest, idempotency_key
from ...kernel.domain import limits
from ...kernel.domain.ids import TaskKey, file_id, task_key_of
from ...kernel.domain.keys import Scope
from ...kernel.domain.task import Status, Task
from ..texts.submission import with_file
from . import lists, prompt, shapes, stream
from .answers import response_reply
from .fields import NewResponseFields, new_request
from .shapes import InputFileView, InputListView, InputMessageView, InputTextView, response_id, task_id_of
from .text_format import SCHEMA_FIELD

# How names of native fields begin in refusals. In a body of `/v1/responses` these are members of `onceover`.
_ELSEWHERE = ("chunk.", "maxModelCalls", "contextChars", "headings")


async def create_response(exchange: Exchange) -> Reply:
    """Accept a response when its task is durable in D1, or find that an earlier request made it."""
    api, headers = exchange.api, exchange.request.headers
    key = idempotency_key(headers)
    body = await submission.read_submission(exchange)
    request = new_request(body, api.settings, api.provider.default_model)
    if body.get("stream") and not exchange.may_read:
        raise forbidden(Scope.READ)
    file, name = prompt.read(body.get("input")).file, digest(body)
    # A request without an Idempotency-Key that an SDK repeats by itself is identified by the SDK's headers.
    resend = None if key is not None else submission.resend(exchange, name)
    if file is not None:
        again = key is not None or (resend is not None and resend.sendings > 0)
        request = await with_file(exchange, request, file.id, file.path, may_be_replayed=again)
    with _named_here():
        accepted = await submission.accept(exchange, request, key, name, resend)
    if body.get("stream"):
        # A new task's stream opens without a read of D1, so a failing database cannot refuse an accepted task.
        streamed = await (stream.stream_reply if accepted.replayed else stream.new_stream)(exchange, accepted.task)
        return replace(streamed, headers={**streamed.headers, **submission.replayed(accepted)})
    return await response_reply(exchange, 200, accepted.task, submission.replayed(accepted))


async def read_response(exchange: Exchange) -> Reply:
    """Show a response, or the stream of its events. A task without a worker is helped, as by a poll."""
    stream.check_obfuscation(exchange.query)
    wanted, first = is_true(exchange.query, "stream"), stream.first_number(exchange.query)
    if wanted:
        return await stream.stream_reply(exchange, await _found(exchange), first)
    if first:
        raise refused("starting_after", "needs stream=true")
    return await response_reply(exchange, 200, await _found(exchange))


async def cancel_response(exchange: Exchange) -> Reply:
    """Cancel a response. A completed or failed response is shown unchanged, as at OpenAI."""
    began = asyncio.get_running_loop().time()
    key = _task_key(exchange)
    task = _check(await exchange.api.store.task(key))
    # An announced call of a task that is already cancelled may still start, so the answer waits for it as well.
    if task.status not in {Status.COMPLETED, Status.FAILED}:
        _, task = await withdrawal.ended_by_client(exchange.api, key, began)
    return await response_reply(exchange, 200, _check(task))


async def erase_response(exchange: Exchange) -> Reply:
    """Erase a response: its task with input, chunks and output."""
    key = _task_key(exchange)
    task = _check(await exchange.api.store.task(key))
    if not await withdrawal.erase_task(exchange.api, key):
        raise _no_response()
    return json_reply(200, shapes.DeletedView(id=response_id(task.id), object="response", deleted=True))


async def read_input_items(exchange: Exchange) -> Reply:
    """Show the input of a response as a list of one item, which is empty once a text is no longer kept."""
    lists.check(exchange.query)
    task = _check(await exchange.api.store.task(_task_key(exchange)))
    text = await exchange.api.store.input(task.task_key)
    name = f"in_{task.id}"
    places, _ = lists.page(exchange.query, [name])
    content: InputTextView | InputFileView = InputTextView(type="input_text", text=text or "")
    if task.text_file is not None:
        content = InputFileView(type="input_file", file_id=file_id(task.text_file))
    item = InputMessageView(id=name, type="message", status="completed", role="user", content=[content])
    items = [item] if (text or task.text_file is not None) and places else []
    shown = name if items else None
    return json_reply(200, InputListView(object="list", data=items, first_id=shown, last_id=shown, has_more=False))


async def _found(exchange: Exchange) -> Task:
    """Read the task of the response that the path names. Raises Refusal (404) if the task does not exist."""
    return _check(await wait.current(exchange.api, _task_key(exchange)))


def _task_key(exchange: Exchange) -> TaskKey:
    """Return the key of the task that the path names. Raises Refusal (404) for a malformed id, without a D1 call."""
    task_id = task_id_of(exchange.parts["id"])
    if task_id is None:
        raise _no_response()
    return task_key_of(exchange.tenant, task_id)


def _check(task: Task | None) -> Task:
    """Return a task that came from `/v1`. Raises Refusal (404) for others, which lack a response's fields."""
    if task is None or task.options.response is None:
        raise _no_response()
    return task


def _no_response() -> Refusal:
    return Refusal(NOT_FOUND, "There is no response with this id.")


@contextmanager
def _named_here() -> Iterator[None]:
    """Give the fields that a refusal names the names that they have in the body of `POST /v1/responses`."""
    try:
        yield
    except Refusal as refusal:
        if refusal.kind is not INVALID_FIELDS:
            raise
        renamed = [error._replace(field=_named_as_here(error.field)) for error in refusal.errors]
        raise field_refusal(renamed) from None


def _named_as_here(field: str) -> str:
    here = {"outputSchema": SCHEMA_FIELD, "inputFile": "input"}
    return here.get(field, f"onceover.{field}" if field.startswith(_ELSEWHERE) else field)


_ID = {"type": "string", "pattern": f"^{shapes.RESPONSE_PREFIX}[0-9a-f-]{{36}}$"}
_OF_RESPONSE = tuple(
    (name, "id", "/id") for name in ("readResponse", "cancelResponse", "eraseResponse", "readInputItems")
)
_EVENTS = (
    "its events as they happen, each once and in order. The last event has the response. A stream that ends "
    "earlier ends with `error`, and its connection is aborted."
)
_LATER = ("Retry-After", "openai-poll-after-ms")

ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/responses",
        summary="Submit a text through OpenAI's API; once this answers, the response is durable in the database",
        handler=create_response,
        access=Scope.WRITE,
        body=NewResponseFields,
        is_shed=True,
        parameters=(IDEMPOTENCY_KEY, *submission.JOINING),
        answers=(
            Answer(
                200,
                f"Accepted. With `stream: true` {_EVENTS}",
                (shapes.ResponseView,),
                (*_LATER, "Idempotency-Replayed"),
                _OF_RESPONSE,
                media_type=sse.MEDIA_TYPE,
            ),
        ),
        problems=(problems.UNSUPPORTED_SCHEMA, problems.NOT_JOINABLE, problems.NO_PRICE, problems.COST_LIMIT),
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{id}",
        summary="Read a response, with its output once it has completed",
        handler=read_response,
        access=Scope.READ,
        parameters=(
            Parameter("stream", "`true`: the response's events.", {"type": "string", "enum": ["true", "false"]}),
            Parameter(
                "starting_after",
                "With `stream=true`: the `sequence_number` of the last event received.",
                {"type": "integer", "minimum": 0, "maximum": 999_999_999},
            ),
            Parameter(
                "include_obfuscation", "`false`: nothing is added to events.", {"type": "string", "enum": ["false"]}
            ),
        ),
        answers=(
            Answer(
                200,
                f"The response. With `stream=true` {_EVENTS}",
                (shapes.ResponseView,),
                _LATER,
                _OF_RESPONSE,
                media_type=sse.MEDIA_TYPE,
            ),
        ),
        id_schema=_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/responses/{id}",
        summary="Cancel a response if needed, and erase its input, chunks and output",
        handler=erase_response,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "Erased", (shapes.DeletedView,)),),
        id_schema=_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{id}/cancel",
        summary="Cancel a response: no model call starts afterwards; an ended response stays as it is",
        handler=cancel_response,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "The response", (shapes.ResponseView,), leads_to=_OF_RESPONSE),),
        id_schema=_ID,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{id}/input_items",
        summary="Read the input while it is kept: a list of one message",
        handler=read_input_items,
        access=Scope.READ,
        parameters=lists.ITEMS,
        answers=(Answer(200, "The input", (InputListView,)),),
        id_schema=_ID,
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        summary="List the deployment's model, and others that responses may name",
        handler=lists.list_models,
        access=Scope.READ,
        parameters=lists.MODELS,
        answers=(Answer(200, "The models", (shapes.ListedModelsView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{id}",
        summary="Read one of the models of the list",
        handler=lists.read_model_by_id,
        access=Scope.READ,
        answers=(Answer(200, "The model", (shapes.ListedModelView,)),),
        id_schema={"type": "string"},
    ),
)
