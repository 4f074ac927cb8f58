"""Registers the calls that retry or cancel many tasks."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _calls() -> Calls:
    from .api import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


BULK: Final = Feature("bulk", groups=(PathGroup(50, ("/api/tasks/retry", "/api/tasks/cancel"), _calls),))
