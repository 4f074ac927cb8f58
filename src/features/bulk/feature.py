"""Registers the calls that retry or cancel many tasks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _calls() -> "Sequence[Endpoint]":
    from ...http.tasks.bulk import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


BULK: Final = Feature("bulk", groups=(PathGroup(50, ("/api/tasks/retry", "/api/tasks/cancel"), _calls),))
