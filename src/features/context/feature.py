"""Registers the form of messages of tasks with context."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature

if TYPE_CHECKING:
    from ...kernel.run.kinds import InputForm
    from ...kernel.store.claims import Claim


def _prompt(claim: "Claim") -> "InputForm | None":
    asked = claim.options.long_text
    if asked is None or not asked.goes_along:
        return None
    from .prompt import ContextPrompt  # noqa: PLC0415 - the first task with context imports it

    return ContextPrompt(claim, asked)


CONTEXT: Final = Feature("context", prompt=_prompt)
