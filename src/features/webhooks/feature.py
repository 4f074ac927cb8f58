"""Registers the calls for webhook endpoints and deliveries."""

from typing import Final

from ...kernel.feature import Calls, Feature, MakeDuty, MakeEndHook, PathGroup


def _deliveries() -> Calls:
    from .deliveries import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _endpoints() -> Calls:
    from .handlers import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


def _duty() -> MakeDuty:
    from .deliverer import Sending  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return Sending


def _ends() -> MakeEndHook:
    from .deliverer import Deliverer  # noqa: PLC0415 - likewise

    return Deliverer


_ENDPOINT_PATHS: Final = (
    *("/v1/webhook_endpoints", "/v1/webhook_endpoints/{id}"),
    *("/v1/webhook_endpoints/{id}/rotate_secret", "/v1/webhook_endpoints/{id}/test"),
)
WEBHOOKS: Final = Feature(
    "webhooks",
    groups=(
        PathGroup(60, ("/api/tasks/{id}/deliveries", "/api/deliveries/{id}/redeliver"), _deliveries),
        PathGroup(160, _ENDPOINT_PATHS, _endpoints),
    ),
    duty=_duty,
    ends=_ends,
    at_start=_duty,
)
