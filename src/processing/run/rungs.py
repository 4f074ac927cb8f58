"""The ladder of one claim's calls: answers are checked, repaired, asked for again, and given up. Pure.

The rung of a call is stored with its failures, so that a later claim goes on from there: see docs/decisions/0048.
"""

from typing import TYPE_CHECKING, NamedTuple

from ...core import limits
from ...core.codes import TaskCode
from ...core.structure import Rejected, Rung
from ...core.task import Failure
from ...inference.protocol import ModelReply
from ...store.records.claims import CallKey, Claim
from ...store.records.ladder import LadderCounts

if TYPE_CHECKING:
    from ...core.structured.judging import Judgement  # imported with the first structured task

CODES = frozenset({TaskCode.INVALID_OUTPUT, TaskCode.OUTPUT_TRUNCATED})
_WORDS = {
    TaskCode.INVALID_OUTPUT: "the output does not fit outputSchema",
    TaskCode.OUTPUT_TRUNCATED: "the output was cut off, so it does not fit outputSchema",
}


class RejectedReply(NamedTuple):
    """An answer that the schema refuses. `final`: the call is not made again."""

    failure: Failure
    final: bool


class Rungs:
    """The rungs of a task's calls, those of earlier claims included, and what they add to the bill."""

    def __init__(self, claim: Claim, reasks_most: int) -> None:
        self._rungs = dict(claim.rungs)
        self._reasks_most = reasks_most
        self._reasks, self._rejected, self._repaired, _ = claim.ladder

    def of(self, key: CallKey) -> Rung | None:
        """Return the rung of a call. None: none of its answers was rejected."""
        return self._rungs.get(key)

    def made(self, key: CallKey) -> None:
        """Count a call that has ended: it has asked again if an answer was rejected before."""
        self._reasks += key in self._rungs

    def accepted(self, key: CallKey, *, repaired: bool) -> None:
        """Count an output."""
        self._rungs.pop(key, None)
        self._repaired += repaired

    def rejected(self, key: CallKey, reply: ModelReply, judged: "Judgement") -> RejectedReply:
        """Keep an answer that the schema refuses, and say whether the call is made again."""
        assert judged.code is not None
        before = self._rungs.get(key)
        answers = 1 if before is None else before.answers + 1
        rejected = Rejected(reply.output[: limits.REJECTED_CHARS_MOST], _errors(judged))
        self._rungs[key] = Rung(answers, rejected, reply.finish_reason)
        self._rejected += 1
        code = TaskCode(judged.code)
        failure = Failure(code, _message(code, reply), True)
        return RejectedReply(failure, code is TaskCode.OUTPUT_TRUNCATED or answers > self._reasks_most)

    def counts(self, coverage: float | None) -> LadderCounts:
        """Give the counters, with what gaps leave of the text."""
        return LadderCounts(self._reasks, self._rejected, self._repaired, coverage)


def _errors(judged: "Judgement") -> tuple[tuple[str, str], ...]:
    """Give the faults as they are kept. A pointer may name a field of the output, of any length."""
    most = limits.FAULT_CHARS_MOST
    return tuple((fault.pointer[:most], fault.expected[:most]) for fault in judged.faults[: limits.FAULTS_MOST])


def _message(code: TaskCode, reply: ModelReply) -> str:
    """Say what is wrong, without a word of the output: where, is in the chunk's `rejected`."""
    if code is TaskCode.OUTPUT_TRUNCATED and reply.finish_reason == "length":
        return f"{_WORDS[code]}: maxOutputTokens may be too small"
    return _WORDS[code]
