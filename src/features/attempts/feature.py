"""Registers the call that shows a task's log of model calls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _calls() -> "Sequence[Endpoint]":
    from ...http.tasks.attempts import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


ATTEMPTS: Final = Feature("attempts", groups=(PathGroup(30, ("/api/tasks/{id}/attempts",), _calls),))
