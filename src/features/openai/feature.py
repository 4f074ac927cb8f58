"""Registers the calls of OpenAI's Responses API."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _calls() -> Calls:
    from .handlers import ENDPOINTS  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return ENDPOINTS


_PATHS: Final = (
    *("/v1/responses", "/v1/responses/{id}", "/v1/responses/{id}/cancel", "/v1/responses/{id}/input_items"),
    *("/v1/models", "/v1/models/{id}"),
)
OPENAI: Final = Feature("openai", groups=(PathGroup(130, _PATHS, _calls),), at_start=_calls)
