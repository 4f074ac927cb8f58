"""The entries of the API's table for the calls about webhook endpoints.

An isolate imports `webhook_calls` with its first request about webhook endpoints.
"""

from ...core import limits
from ...core.keys import Scope
from ...core.webhooks import ENDPOINT_ID_PATTERN
from ..base import problems
from ..base.endpoint import Answer, Endpoint, Parameter
from . import webhook_endpoints

_ENDPOINT_ID = {"type": "string", "pattern": f"^{ENDPOINT_ID_PATTERN}$"}
_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": limits.LIST_LIMIT_MOST,
    "default": limits.LIST_LIMIT_DEFAULT,
}
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
        handler=webhook_endpoints.make_webhook_endpoint,
        access=Scope.ADMIN,
        body=webhook_endpoints.NewEndpointFields,
        answers=(Answer(200, "Made", (webhook_endpoints.SecretWebhookEndpointView,), leads_to=_OF_THIS),),
        problems=(problems.NO_WEBHOOK_KEY, problems.ENDPOINT_LIMIT),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints",
        summary="List the tenant's endpoints, oldest first, without their secrets",
        handler=webhook_endpoints.list_webhook_endpoints,
        access=Scope.ADMIN,
        parameters=(
            Parameter("after", "The `last_id` of the previous page.", _ENDPOINT_ID),
            Parameter("limit", "How many endpoints at most.", _LIMIT),
        ),
        answers=(Answer(200, "The endpoints", (webhook_endpoints.WebhookEndpointListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints/{id}",
        summary="Read an endpoint",
        handler=webhook_endpoints.read_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "The endpoint", (webhook_endpoints.WebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/webhook_endpoints/{id}",
        summary="Delete an endpoint and end its open deliveries",
        handler=webhook_endpoints.delete_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "Deleted", (webhook_endpoints.DeletedWebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/rotate_secret",
        summary="Make a new signing secret; the old one may also sign for one more day",
        handler=webhook_endpoints.rotate_webhook_secret,
        access=Scope.ADMIN,
        body=webhook_endpoints.RotationFields,
        body_optional=True,
        answers=(Answer(200, "Rotated", (webhook_endpoints.SecretWebhookEndpointView,)),),
        problems=(problems.NO_WEBHOOK_KEY,),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/test",
        summary="Send a test message to an endpoint now, and show its answer",
        handler=webhook_endpoints.test_webhook_endpoint,
        access=Scope.ADMIN,
        body=webhook_endpoints.TrialFields,
        body_optional=True,
        answers=(Answer(200, "The endpoint answered", (webhook_endpoints.WebhookTrialView,)),),
        problems=(problems.NO_WEBHOOK_KEY, problems.UNREACHED),
        id_schema=_ENDPOINT_ID,
    ),
)
