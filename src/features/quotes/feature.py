"""Registers the rule for outputs of tasks whose schema has quotes."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature

if TYPE_CHECKING:
    from ...kernel.domain.settings import Settings
    from ...kernel.run.kinds import OutputRule
    from ...kernel.store.claims import Claim


def _rule(claim: "Claim", _settings: "Settings") -> "OutputRule | None":
    if claim.options.long_text is None or not claim.options.long_text.quotes:
        return None
    from .rule import QuoteRule  # noqa: PLC0415 - the first task with quotes imports it

    return QuoteRule(claim)


QUOTES: Final = Feature("quotes", rule=_rule)
