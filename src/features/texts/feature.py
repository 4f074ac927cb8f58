"""Registers what the API does for a text in a file."""

from typing import Final

from ...kernel.feature import Feature, KindApi


def _api() -> KindApi:
    from .kind_api import TextsApi  # noqa: PLC0415 - the first request for a retry or a plan imports it

    return TextsApi()


TEXTS: Final = Feature("texts", api=_api)
