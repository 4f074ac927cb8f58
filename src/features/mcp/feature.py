"""Registers the call of the Model Context Protocol."""

from typing import Final

from ...kernel.feature import Calls, Feature, PathGroup


def _calls() -> Calls:
    from .protocol import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


MCP: Final = Feature("mcp", groups=(PathGroup(170, ("/mcp",), _calls),))
