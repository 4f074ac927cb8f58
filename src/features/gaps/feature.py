"""Registers the retry of gaps."""

from typing import Final

from ...kernel.feature import Feature, KindApi


def _api() -> KindApi:
    from .kind_api import GapsApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return GapsApi()


GAPS: Final = Feature("gaps", api=_api)
