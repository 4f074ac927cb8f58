"""Records a run's ended calls in the run's ledger and in the log."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from ...core.errors import CallNotStarted, ModelError
from ...core.task import is_truncated
from ...inference.protocol import ModelReply
from ...store.records.claims import CallKey, CallMade, CallTimes
from .. import clock
from .call_groups import EndedCall
from .call_inputs import CallInputs
from .context import RunContext
from .ledger import Ledger

if TYPE_CHECKING:
    from ...core.structured.schema import OutputSchema  # the module is imported with the first task that has a schema
    from ...store.long_work import LongWork
    from ..batches.line_inputs import LineInputs  # the module is imported with the first batch


_CHECK_FACTOR = 4  # To check an output takes so many times as long as to read and write it.


class CallOutput(NamedTuple):
    """An accepted output of a call, for the log."""

    key: CallKey
    reply: ModelReply
    seconds: float  # how many seconds the model call took


class CallRecorder:
    """Records ended calls in `ledger`, checks answers against `schema`, and keeps the inputs of merges in `inputs`."""

    def __init__(
        self,
        context: RunContext,
        ledger: Ledger,
        inputs: "CallInputs | LineInputs",
        schema: "OutputSchema | None" = None,
    ) -> None:
        self._ledger = ledger
        self._schema = schema
        self._join_rules = context.claim.join_rules
        self._inputs = inputs
        self._database_clock = clock.DatabaseClock(context.claim.claimed_ms, context.asked_at)
        self._chance = context.chance
        self._log = context.log
        self._work: LongWork | None = None
        self._goes_to = context.model, context.route
        self._first: dict[CallKey, float] = {}  # for each output, when the first call that this run made for it started

    async def record(self, ended: Sequence[EndedCall]) -> None:
        """Record ended calls. Between checks of long outputs, other events of the isolate have a turn.

        Outputs of one level are logged together in one line, because each line costs CPU time.
        """
        done = []
        for key, result, started, seconds in ended:
            if isinstance(result, ModelError):
                self._record_failure(key, result, started, seconds)
            elif self._schema is not None:
                done += self._judge(self._schema, key, result, started, seconds)
                await self._checked(len(result.output))
            else:
                self._record_output(key, result, started, seconds)
                done.append(CallOutput(key, result, seconds))
            if not isinstance(result, CallNotStarted):
                self._inputs.ended(key)
        for level, outputs in groupby(done, lambda output: output.key.level):
            self._log("calls_done", **_facts(level, list(outputs)))

    async def _checked(self, chars: int) -> None:
        if self._work is None:
            from ...store.long_work import LongWork  # noqa: PLC0415 - only structured tasks need it

            self._work = LongWork()
        await self._work.did(_CHECK_FACTOR * chars)

    def _record_failure(self, key: CallKey, error: ModelError, started: float, seconds: float) -> None:
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(error, CallNotStarted):
            self._ledger.not_started(key, clock.now())
            self._log("call_not_started", **facts)
            return
        self._note_first(key, started)
        made = self._call_made(started, seconds, answered=error.answered)
        self._ledger.failed(key, error, clock.now(), self._chance(), made, self._inputs.chars_of(key))
        self._log("call_failed", **facts, code=error.code, error=str(error))

    def _judge(
        self, schema: "OutputSchema", key: CallKey, result: ModelReply, started: float, seconds: float
    ) -> list[CallOutput]:
        """Check an answer against the schema.

        Record it as an output and return the output, or record it as rejected.
        """
        from ...core.structured.judging import judge  # noqa: PLC0415 - only structured tasks need it

        judged = judge(schema, result.output, result.finish_reason, self._join_rules)
        if judged.output is None:
            self._note_first(key, started)
            made = self._call_made(started, seconds, answered=True)
            self._ledger.rejected(key, result, judged, clock.now(), made, self._inputs.chars_of(key))
            facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
            self._log("output_rejected", **facts, code=judged.code, faults=len(judged.faults))
            return []
        accepted = result._replace(output=judged.output)
        self._record_output(key, accepted, started, seconds, repaired=judged.repaired)
        return [CallOutput(key, accepted, seconds)]

    def _call_made(self, started: float, seconds: float, *, answered: bool) -> CallMade:
        """Return the entry that a call without an output gets in the log of the task's calls."""
        ms = self._database_clock.ms
        return CallMade(ms(started), ms(started + seconds), answered, *self._goes_to)

    def _note_first(self, key: CallKey, started: float) -> None:
        if not self._ledger.retries.was_tried(key):
            self._first[key] = started

    def _record_output(
        self, key: CallKey, result: ModelReply, started: float, seconds: float, *, repaired: bool = False
    ) -> None:
        ms, first = self._database_clock.ms, self._first.pop(key, None)
        times = CallTimes(ms(started), ms(started + seconds), None if first is None else ms(first))
        result = self._inputs.formed(key, result, ms(started + seconds))
        self._ledger.succeeded(key, result, times, clock.now(), repaired=repaired)
        self._inputs.keep(key, result.output)


def _facts(level: int, outputs: Sequence[CallOutput]) -> dict[str, object]:
    """Return what a log line says about outputs of one level, and which of the outputs were cut off."""
    reasons = {output.key.position: output.reply.finish_reason for output in outputs}
    return {
        "level": level,
        "chunks": list(reasons),
        "ms": [round(output.seconds * 1000) for output in outputs],
        "input_tokens": [output.reply.input_tokens for output in outputs],
        "output_tokens": [output.reply.output_tokens for output in outputs],
        "truncated": {chunk: reason for chunk, reason in reasons.items() if is_truncated(reason)} or None,
    }
