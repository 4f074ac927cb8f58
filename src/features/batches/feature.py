"""Registers the calls for batches, and what other calls do for a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, KindApi, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _calls() -> "Sequence[Endpoint]":
    from ...http.batches.endpoints import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _api() -> KindApi:
    from .kind_api import BatchesApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return BatchesApi()


BATCHES: Final = Feature(
    "batches",
    groups=(PathGroup(150, ("/v1/batches", "/v1/batches/{id}", "/v1/batches/{id}/cancel"), _calls),),
    api=_api,
)
