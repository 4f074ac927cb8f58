"""Registers how the outputs of a task with a schema are joined."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature

if TYPE_CHECKING:
    from ...core.task import Source
    from ...store.records.results import OutputJoiner


def _joiner_of(source: "Source") -> "OutputJoiner":
    from ...core.structured.joining import join_plan  # noqa: PLC0415 - only such a task needs it
    from ...core.structured.schema import accepted_schema  # noqa: PLC0415

    return join_plan(accepted_schema(dict(source.output_schema or {})), source.join_rules or {}).joiner()


STRUCTURED: Final = Feature("structured", joiner_of=_joiner_of)
