"""Registers the calls for batches, what other calls do for a batch, and the kind of its task."""

from typing import TYPE_CHECKING, Final

from ...kernel.domain.task import Kind
from ...kernel.feature import Calls, Feature, KindApi, MakeDuty, PathGroup

if TYPE_CHECKING:
    from ...kernel.run.kinds import TaskKind


def _calls() -> Calls:
    from .api.handlers import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _api() -> KindApi:
    from .kind_api import BatchesApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return BatchesApi()


def _duty() -> MakeDuty:
    from .work.finalizing import Finalizing  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return Finalizing


def _kind() -> "TaskKind":
    from .work.kind import batch_kind  # noqa: PLC0415 - the first batch imports it

    return batch_kind()


BATCHES: Final = Feature(
    "batches",
    groups=(PathGroup(150, ("/v1/batches", "/v1/batches/{id}", "/v1/batches/{id}/cancel"), _calls),),
    kind=(Kind.BATCH, _kind),
    api=_api,
    duty=_duty,
    at_start=_duty,
)
