"""Webhook deliveries over HTTP: handlers that show a task's deliveries, and that send a delivery again."""

import asyncio
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import Answer, Endpoint
from ...kernel.api.base.exchange import Exchange, Reach
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import ENDPOINT_GONE, NOT_FOUND, Refusal, no_task, no_webhook_key
from ...kernel.api.base.views import Count, Time, rfc3339, shown
from ...kernel.domain.keys import Scope
from .deliverer import deliverer_of
from .deliveries_store import Attempt, Delivery, DeliveryStore
from .rules import DELIVERY_ID_PATTERN, ENDPOINT_ID_PATTERN, AttemptFailure, Event, endpoint_id, read_delivery_id

_Status = Literal["pending", "delivered", "gone", "exhausted"]


@shown
class AttemptView(TypedDict):
    """An attempt to send a message. `status` is null without an answer, `failure` is null if the endpoint took it."""

    at: Time
    status: int | None
    milliseconds: Count
    failure: AttemptFailure | None


@shown
class DeliveryView(TypedDict):
    """A webhook delivery. `id` is the message's `webhook-id`.

    `status` is `gone` if the endpoint is gone, and `exhausted` if all attempts of a day failed. `attempts` has the
    latest 20 of `tries` attempts. `nextAttemptAt` is the earliest time of the next attempt.
    """

    id: Annotated[str, Field(json_schema_extra={"pattern": f"^{DELIVERY_ID_PATTERN}$"})]
    endpoint: Annotated[str, Field(json_schema_extra={"pattern": f"^{ENDPOINT_ID_PATTERN}$"})]
    type: Event
    status: _Status
    createdAt: Time
    nextAttemptAt: Time | None
    tries: Count
    attempts: list[AttemptView]


@shown
class DeliveryListView(TypedDict):
    """The webhook deliveries of a task, in the order of the task's ends."""

    deliveries: list[DeliveryView]


async def read_deliveries(exchange: Exchange) -> Reply:
    """Show the webhook deliveries of a task."""
    found = await exchange.api.store.beside(DeliveryStore).deliveries(exchange.task_key)
    if not found and not await exchange.api.store.is_there(exchange.task_key):
        raise no_task()
    return json_reply(200, DeliveryListView(deliveries=[_view(one) for one in found]))


async def redeliver(exchange: Exchange) -> Reply:
    """Accept that a webhook delivery is sent again. The webhook message is sent after the answer to the request."""
    api, key = exchange.api, read_delivery_id(exchange.tenant, exchange.parts["id"])
    if api.settings.webhook_key is None:
        raise no_webhook_key()
    store = api.store.beside(DeliveryStore)
    found = None if key is None else await store.delivery(key)
    if key is None or found is None:
        raise Refusal(NOT_FOUND, "There is no delivery with this id.")
    asked_at = asyncio.get_running_loop().time()
    taken = await store.redeliver(found)
    if taken is not None:
        api.log("redelivered", task=key.task_key, delivery=key.id)
        deliverer_of(api.invocation).begin_one(taken, asked_at)
    again = await store.delivery(key)
    # If a webhook delivery's fence has changed, this or another redelivery request has taken the delivery. If this
    # request took the delivery and D1's answer was lost, the sweep sends the message later.
    if taken is None and (again is None or again.fence == found.fence):
        raise Refusal(ENDPOINT_GONE, "The endpoint of this delivery is deleted or disabled, so nothing is sent.")
    return json_reply(202, _view(again or found))


def _view(one: Delivery) -> DeliveryView:
    return DeliveryView(
        id=one.key.id,
        endpoint=endpoint_id(one.key.endpoint_key),
        type=Event(one.event),
        status="pending" if one.outcome is None else one.outcome.value,
        createdAt=rfc3339(one.key.ended_at),
        nextAttemptAt=None if one.outcome is not None else rfc3339(one.due_at),
        tries=one.tries,
        attempts=[_attempt(attempt) for attempt in one.attempts],
    )


def _attempt(one: Attempt) -> AttemptView:
    return AttemptView(at=rfc3339(one.at), status=one.status, milliseconds=one.milliseconds, failure=one.failure)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/deliveries",
        summary="Read the webhook deliveries of a task's ends, with each attempt",
        handler=read_deliveries,
        access=Scope.READ,
        reach=Reach.ONE,
        answers=(Answer(200, "The deliveries", (DeliveryListView,)),),
    ),
    Endpoint(
        method="POST",
        path="/api/deliveries/{id}/redeliver",
        summary="Send a delivery again under the same id, whatever its outcome",
        handler=redeliver,
        access=Scope.WRITE,
        reach=Reach.ONE,
        answers=(Answer(202, "The delivery is sent again", (DeliveryView,)),),
        problems=(problems.ENDPOINT_GONE, problems.NO_WEBHOOK_KEY),
        id_schema={"type": "string", "pattern": f"^{DELIVERY_ID_PATTERN}$"},
    ),
)
