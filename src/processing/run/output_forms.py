"""The form that a structured task's calls ask for: its schema, and for an ask again the answer that was rejected."""

from typing import TYPE_CHECKING

from ...inference.protocol import OutputForm, RejectedAnswer
from ...store.records.claims import CallKey, Claim
from .context import RunContext
from .rungs import Rungs

if TYPE_CHECKING:
    from ...core.structured.schema import OutputSchema  # imported with the first structured task

NAME = "output"  # of a schema that its client has not named


def schema_of(claim: Claim) -> "OutputSchema | None":
    """Read the schema that a task's outputs must fit, if it has one."""
    if claim.output_schema is None:
        return None
    from ...core.structured.schema import read_schema  # noqa: PLC0415 - only structured tasks need it

    return read_schema(claim.output_schema)


class OutputForms:
    """The forms of one claim's calls."""

    def __init__(self, context: RunContext, schema: "OutputSchema", rungs: Rungs) -> None:
        structure = context.claim.options.structure
        assert structure is not None
        self._form = OutputForm(
            schema.document, structure.name or NAME, structure.strict, context.settings.structured_output
        )
        self._rungs = rungs

    def of(self, key: CallKey) -> OutputForm:
        """Return the form of a call."""
        rung = self._rungs.of(key)
        if rung is None:
            return self._form
        return self._form._replace(rejected=RejectedAnswer(rung.rejected.output, rung.rejected.errors))
