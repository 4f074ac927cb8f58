"""Webhook endpoints over HTTP: the calls of `/v1/webhook_endpoints`, in the shapes of OpenAI's SDKs."""

from contextlib import suppress
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import LIMIT, NO_CONTROLS, Plain, checked, page_limit, read_object
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import FieldError, Refusal, field_refusal, no_webhook_key
from ...kernel.api.base.views import Count, shown
from ...kernel.domain import limits
from ...kernel.domain.errors import StoreError, StoreUnavailable
from ...kernel.domain.keys import Scope
from . import rules as webhook_urls
from .deliverer import deliverer_of
from .endpoints_store import WebhookEndpoint as StoredEndpoint
from .endpoints_store import WebhookStore
from .rules import ENDPOINT_ID_PATTERN, AttemptFailure, EndpointKey, Event, endpoint_id, endpoint_key_of, is_endpoint_id

_Id = Annotated[str, Field(json_schema_extra={"pattern": f"^{ENDPOINT_ID_PATTERN}$"})]
_Secret = Annotated[str, Field(json_schema_extra={"pattern": "^whsec_[A-Za-z0-9+/]{43}=$"})]
_Event = Annotated[Event, Field(strict=False)]


class NewEndpointFields(Plain):
    """The body of `POST /v1/webhook_endpoints`."""

    name: Annotated[
        str, Field(min_length=1, max_length=limits.WEBHOOK_NAME_CHARS_MOST, json_schema_extra=NO_CONTROLS)
    ] = Field(description="The endpoint's name.")
    url: Annotated[str, Field(min_length=1, max_length=limits.WEBHOOK_URL_CHARS_MOST)] = Field(
        description="Where deliveries go: https, on port 443, to a public name."
    )
    event_types: Annotated[list[_Event], Field(min_length=1)] = Field(
        description="The events that the endpoint receives."
    )


class RotationFields(Plain):
    """The body of `POST /v1/webhook_endpoints/{id}/rotate_secret`. A field that is null counts as absent."""

    keep_old_secret_active_for_24_hours: bool | None = Field(
        None, description="true: the old secret also signs messages for a day. By default it does not."
    )


class TrialFields(Plain):
    """The body of `POST /v1/webhook_endpoints/{id}/test`. A field that is null counts as absent."""

    event_type: _Event | None = Field(None, description="Which event to send; by default the endpoint's first one.")


@shown
class WebhookEndpointView(TypedDict):
    """A webhook endpoint, which is `disabled` after it answered 410. `signing_secret_hint` is the end of the secret.

    The last `failed_attempts` attempts to send a message failed, the latest for the reason `last_failure`.
    """

    id: _Id
    object: Literal["webhook_endpoint"]
    created_at: Count
    updated_at: Count
    name: str
    url: str
    event_types: list[Event]
    status: Literal["enabled", "disabled"]
    failed_attempts: Count
    last_failure: AttemptFailure | None
    signing_secret_hint: str | None


@shown
class SecretWebhookEndpointView(WebhookEndpointView):
    """A webhook endpoint with a new secret. `signing_secret` is shown in this answer and never again."""

    signing_secret: _Secret


@shown
class WebhookEndpointListView(TypedDict):
    """The tenant's webhook endpoints, oldest first, at most 10."""

    object: Literal["list"]
    data: list[WebhookEndpointView]
    first_id: str | None
    last_id: str | None
    has_more: bool


@shown
class DeletedWebhookEndpointView(TypedDict):
    """A deleted webhook endpoint."""

    id: _Id
    object: Literal["webhook_endpoint.deleted"]
    deleted: Literal[True]


@shown
class WebhookTrialView(TypedDict):
    """The result of a test message. `status_code` is the status of the endpoint's answer; `success` means 2xx."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: _Id
    event_type: Event
    success: bool
    status_code: int


async def make_webhook_endpoint(exchange: Exchange) -> Reply:
    """Register a webhook endpoint of the tenant."""
    api, key = exchange.api, _webhook_key(exchange)
    fields = checked(NewEndpointFields, await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST))
    flaw = webhook_urls.refusal(fields.url, loopback=api.settings.webhook_loopback)
    if flaw is not None:
        raise field_refusal([FieldError("url", flaw)])
    events = tuple(dict.fromkeys(fields.event_types))
    one_id = f"we_{api.entropy(12).hex()}"
    endpoint_key, store = endpoint_key_of(exchange.tenant, one_id), api.store.beside(WebhookStore)
    try:
        made = await store.insert(endpoint_key, fields.name, fields.url, events)
    except StoreUnavailable:
        # The insert of a webhook endpoint may have landed, or may still land, although D1's answer was lost. The client
        # never gets the secret of a webhook endpoint whose insert was not confirmed, so the endpoint is deleted.
        with suppress(StoreError):
            await store.delete(endpoint_key, unseen=True)
        raise
    if made is None:
        most = limits.WEBHOOK_ENDPOINTS_MOST
        raise Refusal(
            problems.ENDPOINT_LIMIT, f"The tenant already has {most} endpoints, the most allowed. Delete one."
        )
    api.log("webhook_endpoint_made", tenant=exchange.tenant, endpoint=one_id, events=list(events))
    return json_reply(200, _with_secret(made, key))


async def list_webhook_endpoints(exchange: Exchange) -> Reply:
    """Show a page of the tenant's webhook endpoints."""
    after, limit = exchange.query.get("after"), page_limit(exchange.query)
    found, key = await exchange.api.store.beside(WebhookStore).list(exchange.tenant), exchange.api.settings.webhook_key
    shown_ones = [_view(one, key) for one in found]
    if after is not None:
        position = next((position for position, one in enumerate(shown_ones) if one["id"] == after), None)
        if position is None:
            raise field_refusal([FieldError("after", "must be the id of an endpoint")])
        shown_ones = shown_ones[position + 1 :]
    page = shown_ones[:limit]
    view = WebhookEndpointListView(
        object="list",
        data=page,
        first_id=page[0]["id"] if page else None,
        last_id=page[-1]["id"] if page else None,
        has_more=len(shown_ones) > limit,
    )
    return json_reply(200, view)


async def read_webhook_endpoint(exchange: Exchange) -> Reply:
    """Show one webhook endpoint."""
    return json_reply(200, _view(await _found(exchange), exchange.api.settings.webhook_key))


async def delete_webhook_endpoint(exchange: Exchange) -> Reply:
    """Delete a webhook endpoint. No delivery is sent to a deleted endpoint."""
    key = _key(exchange)
    if not await exchange.api.store.beside(WebhookStore).delete(key):
        raise _no_endpoint()
    exchange.api.log("webhook_endpoint_deleted", tenant=exchange.tenant, endpoint=endpoint_id(key))
    view = DeletedWebhookEndpointView(id=endpoint_id(key), object="webhook_endpoint.deleted", deleted=True)
    return json_reply(200, view)


async def rotate_webhook_secret(exchange: Exchange) -> Reply:
    """Give a webhook endpoint a new signing secret, and show the secret."""
    key = _webhook_key(exchange)
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST, optional=True)
    keep_old = bool(checked(RotationFields, body).keep_old_secret_active_for_24_hours)
    rotated = await exchange.api.store.beside(WebhookStore).rotate(await _found(exchange), keep_old=keep_old)
    if rotated is None:
        raise _no_endpoint()
    exchange.api.log("webhook_secret_rotated", tenant=exchange.tenant, endpoint=endpoint_id(rotated.key))
    return json_reply(200, _with_secret(rotated, key))


async def test_webhook_endpoint(exchange: Exchange) -> Reply:
    """Send a test message to a webhook endpoint, even of an event that it does not receive, and show its answer."""
    api, _ = exchange.api, _webhook_key(exchange)
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST, optional=True)
    asked = checked(TrialFields, body).event_type
    endpoint = await _found(exchange)
    event, now_ms = asked or endpoint.events[0], api.now_ms()
    message_id = f"evt_test_{api.entropy(16).hex()}"
    told = webhook_urls.body_of(message_id, event, now_ms, f"test_{endpoint_id(endpoint.key)}")
    deliverer = deliverer_of(api.invocation)
    secrets = deliverer.secrets(endpoint.key, endpoint.secret_generation, old_too=endpoint.old_secret_signs)
    sent = await deliverer.send(endpoint.url, secrets, message_id, now_ms // 1000, told)
    api.log("webhook_tested", endpoint=endpoint_id(endpoint.key), status=sent.answer.status, ms=sent.milliseconds)
    if sent.answer.status is None:
        raise Refusal(
            problems.UNREACHED, f"The endpoint gave no answer: {sent.answer.failure}, after {sent.milliseconds} ms."
        )
    view = WebhookTrialView(
        object="webhook_endpoint.test",
        webhook_endpoint_id=endpoint_id(endpoint.key),
        event_type=event,
        success=200 <= sent.answer.status < 300,
        status_code=sent.answer.status,
    )
    return json_reply(200, view)


def _webhook_key(exchange: Exchange) -> str:
    key = exchange.api.settings.webhook_key
    if key is None:
        raise no_webhook_key()
    return key


def _key(exchange: Exchange) -> EndpointKey:
    """Return the key of the endpoint in the path. Raises Refusal (404) for a malformed id, without a D1 call."""
    if not is_endpoint_id(exchange.parts["id"]):
        raise _no_endpoint()
    return endpoint_key_of(exchange.tenant, exchange.parts["id"])


async def _found(exchange: Exchange) -> StoredEndpoint:
    endpoint = await exchange.api.store.beside(WebhookStore).find(_key(exchange))
    if endpoint is None:
        raise _no_endpoint()
    return endpoint


def _no_endpoint() -> Refusal:
    return Refusal(problems.NOT_FOUND, "There is no webhook endpoint with this id.")


def _view(one: StoredEndpoint, key: str | None) -> WebhookEndpointView:
    secret = None if key is None else webhook_urls.secret(key, one.key, one.secret_generation)
    return WebhookEndpointView(
        id=endpoint_id(one.key),
        object="webhook_endpoint",
        created_at=one.created_at // 1000,
        updated_at=one.updated_at // 1000,
        name=one.name,
        url=one.url,
        event_types=list(one.events),
        status="enabled" if one.disabled_at is None else "disabled",
        failed_attempts=one.failed_attempts,
        last_failure=one.last_failure,
        signing_secret_hint=None if secret is None else f"…{secret[-5:]}",
    )


def _with_secret(one: StoredEndpoint, key: str) -> SecretWebhookEndpointView:
    secret = webhook_urls.secret(key, one.key, one.secret_generation)
    return SecretWebhookEndpointView(**_view(one, key), signing_secret=secret)


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
        handler=make_webhook_endpoint,
        access=Scope.ADMIN,
        body=NewEndpointFields,
        answers=(Answer(200, "Made", (SecretWebhookEndpointView,), leads_to=_OF_THIS),),
        problems=(problems.NO_WEBHOOK_KEY, problems.ENDPOINT_LIMIT),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints",
        summary="List the tenant's endpoints, oldest first, without their secrets",
        handler=list_webhook_endpoints,
        access=Scope.ADMIN,
        parameters=(
            Parameter("after", "The `last_id` of the previous page.", _ENDPOINT_ID),
            Parameter("limit", "How many endpoints at most.", LIMIT),
        ),
        answers=(Answer(200, "The endpoints", (WebhookEndpointListView,)),),
    ),
    Endpoint(
        method="GET",
        path="/v1/webhook_endpoints/{id}",
        summary="Read an endpoint",
        handler=read_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "The endpoint", (WebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/webhook_endpoints/{id}",
        summary="Delete an endpoint and end its open deliveries",
        handler=delete_webhook_endpoint,
        access=Scope.ADMIN,
        answers=(Answer(200, "Deleted", (DeletedWebhookEndpointView,)),),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/rotate_secret",
        summary="Make a new signing secret; the old one may also sign for one more day",
        handler=rotate_webhook_secret,
        access=Scope.ADMIN,
        body=RotationFields,
        body_optional=True,
        answers=(Answer(200, "Rotated", (SecretWebhookEndpointView,)),),
        problems=(problems.NO_WEBHOOK_KEY,),
        id_schema=_ENDPOINT_ID,
    ),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}/test",
        summary="Send a test message to an endpoint now, and show its answer",
        handler=test_webhook_endpoint,
        access=Scope.ADMIN,
        body=TrialFields,
        body_optional=True,
        answers=(Answer(200, "The endpoint answered", (WebhookTrialView,)),),
        problems=(problems.NO_WEBHOOK_KEY, problems.UNREACHED),
        id_schema=_ENDPOINT_ID,
    ),
)
