"""Registers the calls for webhook endpoints and deliveries."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _deliveries() -> Calls:
    from ...http.webhooks.deliveries import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _endpoints() -> Calls:
    from ...http.webhooks.webhook_calls import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


WEBHOOKS: Final = Feature(
    "webhooks",
    groups=(
        PathGroup(60, ("/api/tasks/{id}/deliveries", "/api/deliveries/{id}/redeliver"), _deliveries),
        PathGroup(
            160,
            (
                *("/v1/webhook_endpoints", "/v1/webhook_endpoints/{id}"),
                *("/v1/webhook_endpoints/{id}/rotate_secret", "/v1/webhook_endpoints/{id}/test"),
            ),
            _endpoints,
        ),
    ),
)
