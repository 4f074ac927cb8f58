"""Decides what follows an answer that does not fit the task's schema: the call is made again, or has failed. Pure.

A call's rung is the number of answers to the call that were rejected, together with the last rejected answer. The rung
is stored with the failures of the call, so that a later claim continues to count: see docs/decisions/state.md#d0048.
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
    from ...core.structured.judging import Judgement  # the module is imported with the first task that has a schema

CODES = frozenset({TaskCode.INVALID_OUTPUT, TaskCode.OUTPUT_TRUNCATED})
_WORDS = {
    TaskCode.INVALID_OUTPUT: "the output does not fit outputSchema",
    TaskCode.OUTPUT_TRUNCATED: "the output was cut off, so it does not fit outputSchema",
}


class RejectedReply(NamedTuple):
    """The failure that a rejected answer causes for its call. After a `final` failure the call is not made again."""

    failure: Failure
    final: bool


class Rungs:
    """The rungs of a task's calls, under this claim and earlier claims, and the counts of rungs on the task's bill."""

    def __init__(self, claim: Claim, reasks_most: int) -> None:
        self._rungs = dict(claim.rungs)
        self._reasks_most = reasks_most
        self._reasks, self._rejected, self._repaired, _ = claim.ladder

    def of(self, key: CallKey) -> Rung | None:
        """Return the rung of a call; None if no answer to the call was rejected."""
        return self._rungs.get(key)

    def made(self, key: CallKey) -> None:
        """Note that a model call for an output has ended.

        A call counts as a reask if an earlier answer for the same output was rejected.
        """
        self._reasks += key in self._rungs

    def accepted(self, key: CallKey, *, repaired: bool) -> None:
        """Note that a call has given an output that fits the schema."""
        self._rungs.pop(key, None)
        self._repaired += repaired

    def rejected(self, key: CallKey, reply: ModelReply, judged: "Judgement") -> RejectedReply:
        """Keep an answer that does not fit the schema, and return whether the call is made again."""
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
        """Return a structured task's counters for the task's row.

        `coverage` is the share of the text that is not in gaps.
        """
        return LadderCounts(self._reasks, self._rejected, self._repaired, coverage)


def _errors(judged: "Judgement") -> tuple[tuple[str, str], ...]:
    """Return an answer's first faults, for storage; each is cut, as a field's name in a pointer may be long."""
    most = limits.FAULT_CHARS_MOST
    return tuple((fault.pointer[:most], fault.expected[:most]) for fault in judged.faults[: limits.FAULTS_MOST])


def _message(code: TaskCode, reply: ModelReply) -> str:
    """Return the message of a rejected answer's failure, which quotes nothing of the output."""
    if code is TaskCode.OUTPUT_TRUNCATED and reply.finish_reason == "length":
        return f"{_WORDS[code]}: maxOutputTokens may be too small"
    return _WORDS[code]
