"""Registers the calls for files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _calls() -> "Sequence[Endpoint]":
    from ...http.files.endpoints import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


FILES: Final = Feature(
    "files", groups=(PathGroup(140, ("/v1/files", "/v1/files/{id}", "/v1/files/{id}/content"), _calls),)
)
