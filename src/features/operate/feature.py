"""Registers the calls for operators."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _tenants() -> Calls:
    from .tenants import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _sweep() -> Calls:
    from .sweeps import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


def _figures() -> Calls:
    from . import history, metrics  # noqa: PLC0415 - likewise

    return (*metrics.ENDPOINTS, *history.ENDPOINTS)


def _health() -> Calls:
    from .health import ENDPOINTS  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return ENDPOINTS


OPERATE: Final = Feature(
    "operate",
    groups=(
        PathGroup(70, ("/api/tenants",), _tenants),
        PathGroup(90, ("/api/sweep",), _sweep),
        PathGroup(100, ("/api/metrics", "/api/history"), _figures),
        PathGroup(110, ("/api/async-status", "/api/ai-status"), _health),
    ),
    at_start=_health,
)
