"""Registers the calls of OpenAI's Responses API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature, PathGroup

if TYPE_CHECKING:
    from ...http.base.endpoint import Endpoint


def _calls() -> "Sequence[Endpoint]":
    from ...http.responses.endpoints import ENDPOINTS  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return ENDPOINTS


OPENAI: Final = Feature(
    "openai",
    groups=(
        PathGroup(
            130,
            (
                *("/v1/responses", "/v1/responses/{id}", "/v1/responses/{id}/cancel", "/v1/responses/{id}/input_items"),
                *("/v1/models", "/v1/models/{id}"),
            ),
            _calls,
        ),
    ),
    at_start=_calls,
)
