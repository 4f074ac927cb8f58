"""The entries of the API's table for the calls below `/v1`, except those for webhook endpoints."""

from typing import Final

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Parameter
from ...kernel.api.follow import sse
from ...kernel.api.tasks.submission import JOINING
from ...kernel.domain import limits
from ...kernel.domain.keys import Scope
from . import handlers, models, paging
from .fields import NewResponseFields
from .shapes import RESPONSE_PREFIX, DeletedView, InputListView, ListedModelsView, ListedModelView, ResponseView

_ID = {"type": "string", "pattern": f"^{RESPONSE_PREFIX}[0-9a-f-]{{36}}$"}
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
        handler=handlers.create_response,
        access=Scope.WRITE,
        body=NewResponseFields,
        is_shed=True,
        parameters=(IDEMPOTENCY_KEY, *JOINING),
        answers=(
            Answer(
                200,
                f"Accepted. With `stream: true` {_EVENTS}",
                (ResponseView,),
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
        handler=handlers.read_response,
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
                (ResponseView,),
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
        handler=handlers.erase_response,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "Erased", (DeletedView,)),),
        id_schema=_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/responses/{id}/cancel",
        summary="Cancel a response: no model call starts afterwards; an ended response stays as it is",
        handler=handlers.cancel_response,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "The response", (ResponseView,), leads_to=_OF_RESPONSE),),
        id_schema=_ID,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{id}/input_items",
        summary="Read the input while it is kept: a list of one message",
        handler=handlers.read_input_items,
        access=Scope.READ,
        parameters=paging.PARAMETERS,
        answers=(Answer(200, "The input", (InputListView,)),),
        id_schema=_ID,
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        summary="List the deployment's model, and others that responses may name",
        handler=models.list_models,
        access=Scope.READ,
        parameters=models.PARAMETERS,
        answers=(Answer(200, "The models", (ListedModelsView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{id}",
        summary="Read one of the models of the list",
        handler=models.read_model_by_id,
        access=Scope.READ,
        answers=(Answer(200, "The model", (ListedModelView,)),),
        id_schema={"type": "string"},
    ),
)
