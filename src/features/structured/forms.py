"""Asks for outputs that fit a task's schema, and checks that they do."""

from collections.abc import Callable, Sequence

from ...kernel.calls.protocol import ModelReply, OutputForm
from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.settings import Sending
from ...kernel.domain.structure import Rejection
from ...kernel.run.kinds import CallSource
from ...kernel.store.claims import CallKey, Claim
from .judging import judge
from .schema.check import Fault
from .schema.schema import read_schema, sent_document

NAME = "output"  # the name that is sent to the model for a schema without a name
CODES = frozenset({TaskCode.INVALID_OUTPUT, TaskCode.OUTPUT_TRUNCATED})
_WORDS = {
    TaskCode.INVALID_OUTPUT: "the output does not fit outputSchema",
    TaskCode.OUTPUT_TRUNCATED: "the output was cut off, so it does not fit outputSchema",
}


class SchemaRule:
    """The rule of a task with a schema: see `OutputRule`."""

    def __init__(self, claim: Claim, sending: Sending) -> None:
        structure = claim.options.structure
        assert structure is not None
        assert claim.output_schema is not None
        self._schema = read_schema(claim.output_schema)
        self._join_rules = claim.join_rules
        self._form = OutputForm(sent_document(self._schema.document), structure.name or NAME, structure.strict, sending)

    def form(self, key: CallKey) -> OutputForm:
        """Return the form with the schema, which chunks and merges share."""
        return self._form

    def judge(self, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]) -> ModelReply | Rejection:
        """Return the reply with its output as compact JSON, or why the answer is rejected."""
        judged = judge(self._schema, reply.output, reply.finish_reason, self._join_rules)
        if judged.output is not None:
            return reply._replace(output=judged.output, repaired=judged.repaired)
        assert judged.code is not None
        return rejection(reply, judged.faults, judged.code)


def rejection(reply: ModelReply, faults: Sequence[Fault], code: TaskCode = TaskCode.INVALID_OUTPUT) -> Rejection:
    """Return the rejection of an answer, with its first faults; each is cut, as a field's name may be long."""
    most = limits.FAULT_CHARS_MOST
    return Rejection(
        reply.output[: limits.REJECTED_CHARS_MOST],
        tuple((fault.pointer[:most], fault.expected[:most]) for fault in faults[: limits.FAULTS_MOST]),
        reply.finish_reason,
        code=code,
        message=_message(code, reply),
        final=code is TaskCode.OUTPUT_TRUNCATED,
    )


def _message(code: TaskCode, reply: ModelReply) -> str:
    """Return the message of a rejected answer's failure, which quotes nothing of the output."""
    if code is TaskCode.OUTPUT_TRUNCATED and reply.finish_reason == "length":
        return f"{_WORDS[code]}: maxOutputTokens may be too small"
    return _WORDS[code]
