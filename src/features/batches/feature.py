"""Registers the calls for batches, and what other calls do for a batch."""

from typing import Final

from ...kernel.feature import Calls, Feature, KindApi, MakeDuty, PathGroup


def _calls() -> Calls:
    from ...http.batches.endpoints import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _api() -> KindApi:
    from .kind_api import BatchesApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return BatchesApi()


def _duty() -> MakeDuty:
    from ...processing.sweep.finalizing import Finalizing  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return Finalizing


BATCHES: Final = Feature(
    "batches",
    groups=(PathGroup(150, ("/v1/batches", "/v1/batches/{id}", "/v1/batches/{id}/cancel"), _calls),),
    api=_api,
    duty=_duty,
    at_start=_duty,
)
