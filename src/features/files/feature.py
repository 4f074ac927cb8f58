"""Registers the calls for files."""

from typing import Final

from ...kernel.feature import Calls, Feature, MakeDuty, PathGroup


def _calls() -> Calls:
    from .api.handlers import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _duty() -> MakeDuty:
    from .erasure import FileErasure  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return FileErasure


FILES: Final = Feature(
    "files",
    groups=(PathGroup(140, ("/v1/files", "/v1/files/{id}", "/v1/files/{id}/content"), _calls),),
    duty=_duty,
    at_start=_duty,
)
