"""What becomes of calls that have ended: each is booked in the run's ledger, and told to the log."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from ...core.errors import CallNotStarted, ModelError
from ...core.task import is_truncated
from ...inference.protocol import ModelReply
from ...store.claims import CallKey, CallTimes
from .. import clock
from ..log import Log
from .call_groups import Finished
from .call_inputs import Material
from .ledger import Ledger


class Times(NamedTuple):
    """When a claim was written: by the database, in ms since the epoch, and by the run's clock, when it was asked."""

    claimed_ms: int
    asked_at: float

    def epoch_ms(self, moment: float) -> int:
        """Give a time on the run's clock by the database's, but for what the claim's way there took."""
        return self.claimed_ms + round((moment - self.asked_at) * 1000)


class Output(NamedTuple):
    """What a call gave, and in how many seconds."""

    key: CallKey
    reply: ModelReply
    seconds: float


class Bookings:
    """Books calls. `material` keeps the outputs that a merge will want. `chance` gives numbers from 0 to 1."""

    def __init__(self, ledger: Ledger, material: Material, times: Times, chance: Callable[[], float], log: Log) -> None:
        self._ledger = ledger
        self._material = material
        self._times = times
        self._chance = chance
        self._log = log
        self._first: dict[CallKey, float] = {}  # when the first call started for an output that this run has asked for

    def take(self, ended: Sequence[Finished]) -> None:
        """Book calls that have ended. Those that gave an output share a line of the log, which is not cheap."""
        done = []
        for key, result, started, seconds in ended:
            if isinstance(result, ModelError):
                self._book_failure(key, result, started, seconds)
            else:
                self._book_output(key, result, started, seconds)
                done.append(Output(key, result, seconds))
        for level, outputs in groupby(done, lambda output: output.key.level):
            self._log("calls_done", **_facts(level, list(outputs)))

    def _book_failure(self, key: CallKey, error: ModelError, started: float, seconds: float) -> None:
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(error, CallNotStarted):
            self._ledger.not_started(key, clock.now())
            self._log("call_not_started", **facts)
            return
        if not self._ledger.trials.was_tried(key):
            self._first[key] = started
        self._ledger.failed(key, error, clock.now(), self._chance())
        self._log("call_failed", **facts, code=error.code, error=str(error))

    def _book_output(self, key: CallKey, result: ModelReply, started: float, seconds: float) -> None:
        epoch_ms, first = self._times.epoch_ms, self._first.pop(key, None)
        times = CallTimes(epoch_ms(started), epoch_ms(started + seconds), None if first is None else epoch_ms(first))
        self._ledger.succeeded(key, result, times, clock.now())
        self._material.keep(key, result.output)


def _facts(level: int, outputs: Sequence[Output]) -> dict[str, object]:
    """Say what the log says of outputs of one level: for each chunk in its place, and which of them were cut short."""
    reasons = {output.key.position: output.reply.finish_reason for output in outputs}
    return {
        "level": level,
        "chunks": list(reasons),
        "ms": [round(output.seconds * 1000) for output in outputs],
        "input_tokens": [output.reply.input_tokens for output in outputs],
        "output_tokens": [output.reply.output_tokens for output in outputs],
        "truncated": {chunk: reason for chunk, reason in reasons.items() if is_truncated(reason)} or None,
    }
