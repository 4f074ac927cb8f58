"""The entries of the API's table for the calls about webhook endpoints."""

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import Answer, Endpoint, Parameter
from ...kernel.api.base.fields import LIMIT
from ...kernel.domain.keys import Scope
from . import handlers
from .rules import ENDPOINT_ID_PATTERN

_ENDPOINT_ID = {"type": "string", "pattern": f"^{ENDPOINT_ID_PATTERN}$"}
# The further calls (`leads_to`) that an answer with a webhook endpoint offers, with the endpoint's id.
_OF_THIS = tuple(
    (name, "id", "/id")
    for name in ("readWebhookEndpoint", "rotateWebhookSecret", "testWebhookEndpoint", "deleteWebhookEndpoint")
)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints",
        summary="Register an endpoint of the tenant; only this answer and a rotation's show its secret",
        handler=handlers.make_webhook_endpoint,
        access=Scope.ADMIN,
        body=handlers.NewEndpointFields,
        answers=(Answer(200, "Made", (handlers.SecretWebhookEndpointView,), leads_to=_OF_THIS),),
        problems=(problems.NO_WEBHOOK_KEY, problems.ENDPOINT_LIMIT),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints",
        summary="List the tenant's endpoints, oldest first, without their secrets",
        handler=handlers.list_webhook_endpoints,
        access=Scope.ADMIN,
        parameters=(
            Parameter("after", "The `last_id` of the previous page.", _ENDPOINT_ID),
            Parameter("limit", "How many endpoints at most.", LIMIT),
        ),
        answers=(Answer(200, "The endpoints", (handlers.WebhookEndpointListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints/{id}",
        summary="Read an endpoint",
        handler=handlers.read_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "The endpoint", (handlers.WebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/webhook_endpoints/{id}",
        summary="Delete an endpoint and end its open deliveries",
        handler=handlers.delete_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "Deleted", (handlers.DeletedWebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/rotate_secret",
        summary="Make a new signing secret; the old one may also sign for one more day",
        handler=handlers.rotate_webhook_secret,
        access=Scope.ADMIN,
        body=handlers.RotationFields,
        body_optional=True,
        answers=(Answer(200, "Rotated", (handlers.SecretWebhookEndpointView,)),),
        problems=(problems.NO_WEBHOOK_KEY,),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/test",
        summary="Send a test message to an endpoint now, and show its answer",
        handler=handlers.test_webhook_endpoint,
        access=Scope.ADMIN,
        body=handlers.TrialFields,
        body_optional=True,
        answers=(Answer(200, "The endpoint answered", (handlers.WebhookTrialView,)),),
        problems=(problems.NO_WEBHOOK_KEY, problems.UNREACHED),
        id_schema=_ENDPOINT_ID,
    ),
)
