"""Registers the rule for outputs of tasks with a schema, and how they are joined."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature

if TYPE_CHECKING:
    from ...kernel.domain.settings import Settings
    from ...kernel.domain.task import Source
    from ...kernel.run.kinds import OutputRule
    from ...kernel.store.claims import Claim
    from ...kernel.store.rows import OutputJoiner


def _rule(claim: "Claim", settings: "Settings") -> "OutputRule | None":
    if claim.output_schema is None:
        return None
    from .forms import SchemaRule  # noqa: PLC0415 - the first task with a schema imports it

    return SchemaRule(claim, settings.structured_output)


def _joiner_of(source: "Source") -> "OutputJoiner":
    from .joining import joiner_for  # noqa: PLC0415 - only such a task needs it
    from .schema.schema import accepted_schema  # noqa: PLC0415

    return joiner_for(accepted_schema(dict(source.output_schema or {})), source.join_rules or {})


STRUCTURED: Final = Feature("structured", rule=_rule, joiner_of=_joiner_of)
