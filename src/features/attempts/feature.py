"""Registers the call that shows a task's log of model calls."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _calls() -> Calls:
    from .api import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


ATTEMPTS: Final = Feature("attempts", groups=(PathGroup(30, ("/api/tasks/{id}/attempts",), _calls),))
