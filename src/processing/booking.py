"""What becomes of a call that came back: its entry in the ledger, and a line of log."""

from collections.abc import Callable

from ..core.errors import CallNotStarted, ModelError
from . import clock
from .calls import Finished
from .ledger import Ledger
from .log import Log


def book(
    finished: Finished, ledger: Ledger, epoch_ms: Callable[[float], int], chance: Callable[[], float], log: Log
) -> None:
    """Book one call. `epoch_ms` gives a time of the run's clock by the database's, `chance` numbers from 0 to 1."""
    key, result, started, seconds = finished
    facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
    if isinstance(result, CallNotStarted):
        ledger.not_started(key, clock.now())
        log("call_not_started", **facts)
    elif isinstance(result, ModelError):
        ledger.failed(key, result, clock.now(), chance())
        log("call_failed", **facts, code=result.code, error=str(result))
    else:
        ledger.succeeded(key, result, (epoch_ms(started), epoch_ms(started + seconds)), clock.now())
        log("call_done", **facts, input_tokens=result.input_tokens, output_tokens=result.output_tokens)
