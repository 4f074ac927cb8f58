"""Makes the form that calls ask the model for, if their task has a schema."""

from typing import TYPE_CHECKING

from ...inference.protocol import OutputForm, RejectedAnswer
from ...store.records.claims import CallKey, Claim
from .context import RunContext
from .rungs import Rungs

if TYPE_CHECKING:
    from ...core.structured.schema import OutputSchema  # the module is imported with the first task that has a schema

NAME = "output"  # the name that is sent to the model for a schema without a name


def schema_of(claim: Claim) -> "OutputSchema | None":
    """Parse the schema that the task's outputs must fit. Return None for a task without a schema."""
    if claim.output_schema is None:
        return None
    from ...core.structured.schema import read_schema  # noqa: PLC0415 - only structured tasks need it

    return read_schema(claim.output_schema)


class OutputForms:
    """The forms for the calls of one claim: each has the task's schema and, after a rejected answer, that answer."""

    def __init__(self, context: RunContext, schema: "OutputSchema", rungs: Rungs) -> None:
        structure = context.claim.options.structure
        assert structure is not None
        self._form = OutputForm(
            schema.document, structure.name or NAME, structure.strict, context.settings.structured_output
        )
        self._rungs = rungs

    def of(self, key: CallKey) -> OutputForm:
        """Return the form that a call asks the model for."""
        rung = self._rungs.of(key)
        if rung is None:
            return self._form
        return self._form._replace(rejected=RejectedAnswer(rung.rejected.output, rung.rejected.errors))
