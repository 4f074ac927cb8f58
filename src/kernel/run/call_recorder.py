"""Records a run's ended calls in the run's ledger and in the log."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from ..calls import clock
from ..calls.protocol import ModelReply
from ..domain.errors import CallNotStarted, ModelError
from ..domain.structure import Rejection
from ..domain.task import is_truncated
from ..store.claims import AttemptEntry, CallKey
from .call_groups import EndedCall
from .context import RunContext
from .kinds import Inputs
from .ledger import Ledger

_CHECK_FACTOR = 4  # To check an output takes so many times as long as to read and write it.


class CallRecorder:
    """Records ended calls in `ledger`, by the judgement of the task's rules, and tells `inputs`."""

    def __init__(self, context: RunContext, ledger: Ledger, inputs: Inputs) -> None:
        self._ledger = ledger
        self._rules = context.rules
        self._inputs = inputs
        self._database_clock = clock.DatabaseClock(context.claim.claimed_ms, context.asked_at)
        self._chance = context.invocation.chance
        self._log = context.log
        self._work = clock.LongWork()
        self._goes_to = context.model, context.route
        self._first: dict[CallKey, float] = {}  # for each output, when the first call that this run made for it started

    async def record(self, ended: Sequence[EndedCall]) -> None:
        """Record ended calls, with turns for others, and a line of log a level, as each costs CPU time."""
        done: list[tuple[CallKey, ModelReply, float]] = []  # the accepted outputs, and the seconds of their calls
        for key, result, started, seconds in ended:
            if isinstance(result, ModelError):
                self._record_failure(key, result, started, seconds)
            else:
                judged = self._judged(key, result)
                if isinstance(judged, Rejection):
                    self._record_rejection(key, result, judged, started, seconds)
                else:
                    self._record_output(key, judged, started, seconds)
                    done.append((key, judged, seconds))
                if self._rules:
                    await self._work.did(_CHECK_FACTOR * len(result.output))
            if not isinstance(result, CallNotStarted):
                self._inputs.ended(key)
        for level, outputs in groupby(done, lambda output: output[0].level):
            self._log("calls_done", **_facts(level, list(outputs)))

    def _record_failure(self, key: CallKey, error: ModelError, started: float, seconds: float) -> None:
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(error, CallNotStarted):
            self._ledger.not_started(key, clock.now())
            self._log("call_not_started", **facts)
            return
        self._note_first(key, started)
        entry = self._entry(started, seconds, answered=error.answered)
        self._ledger.failed(key, error, clock.now(), self._chance(), entry, self._inputs.chars_of(key))
        self._log("call_failed", **facts, code=error.code, error=str(error))

    def _judged(self, key: CallKey, reply: ModelReply) -> ModelReply | Rejection:
        """Return the reply as the task's rules accept it, one after the other, or why a rule rejects it."""
        for rule in self._rules:
            judged = rule.judge(key, reply, partial(self._inputs.source, key))
            if isinstance(judged, Rejection):
                return judged
            reply = judged
        return reply

    def _record_rejection(
        self, key: CallKey, reply: ModelReply, rejection: Rejection, started: float, seconds: float
    ) -> None:
        self._note_first(key, started)
        entry = self._entry(started, seconds, answered=True)
        self._ledger.rejected(key, reply, rejection, clock.now(), entry, self._inputs.chars_of(key))
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        self._log("output_rejected", **facts, code=rejection.code, faults=len(rejection.faults))

    def _entry(self, started: float, seconds: float, *, answered: bool) -> AttemptEntry:
        """Return the entry that a call without an output gets in the log of the task's calls."""
        ms = self._database_clock.ms
        return AttemptEntry(ms(started), ms(started + seconds), answered, *self._goes_to)

    def _note_first(self, key: CallKey, started: float) -> None:
        if not self._ledger.retries.was_tried(key):
            self._first[key] = started

    def _record_output(self, key: CallKey, result: ModelReply, started: float, seconds: float) -> None:
        ms, first = self._database_clock.ms, self._first.pop(key, None)
        ended_ms, first_ms = ms(started + seconds), None if first is None else ms(first)
        result = self._inputs.recorded_form(key, result, ended_ms)
        self._ledger.succeeded(key, result, clock.now(), started_ms=ms(started), ended_ms=ended_ms, first_ms=first_ms)


def _facts(level: int, outputs: Sequence[tuple[CallKey, ModelReply, float]]) -> dict[str, object]:
    """Return what a log line says about outputs of one level, and which of the outputs were cut off."""
    reasons = {key.position: reply.finish_reason for key, reply, _ in outputs}
    return {
        "level": level,
        "chunks": list(reasons),
        "ms": [round(seconds * 1000) for _, _, seconds in outputs],
        "input_tokens": [reply.input_tokens for _, reply, _ in outputs],
        "output_tokens": [reply.output_tokens for _, reply, _ in outputs],
        "truncated": {chunk: reason for chunk, reason in reasons.items() if is_truncated(reason)} or None,
    }
