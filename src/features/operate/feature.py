"""Registers the calls for operators."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _tenants() -> "Sequence[Endpoint]":
    from ...http.operate.tenants import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _sweep() -> "Sequence[Endpoint]":
    from ...http.operate.operation import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


def _observation() -> "Sequence[Endpoint]":
    from ...http.operate.observation import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


def _health() -> "Sequence[Endpoint]":
    from ...http.operate.health import ENDPOINTS  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return ENDPOINTS


OPERATE: Final = Feature(
    "operate",
    groups=(
        PathGroup(70, ("/api/tenants",), _tenants),
        PathGroup(90, ("/api/sweep",), _sweep),
        PathGroup(100, ("/api/metrics", "/api/history"), _observation),
        PathGroup(110, ("/api/async-status", "/api/ai-status"), _health),
    ),
    at_start=_health,
)
