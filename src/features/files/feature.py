"""Registers the calls for files."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _calls() -> Calls:
    from ...http.files.endpoints import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


FILES: Final = Feature(
    "files", groups=(PathGroup(140, ("/v1/files", "/v1/files/{id}", "/v1/files/{id}/content"), _calls),)
)
