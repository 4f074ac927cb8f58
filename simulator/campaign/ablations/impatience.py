"""Functions that replace the safeguards of `ablations/patience.py` while these are switched off."""

from dataclasses import replace
from typing import Any

from simulator.platform.model import ModelServer
from src.kernel.calls.model_health import ModelHealth, ModelHealths
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.errors import ModelError, ModelUnavailable
from src.kernel.store import claiming
from src.kernel.store.claims import Claim

_read_claim = claiming.claim
_decide = ModelServer._decide


def count_all(*_arguments: Any) -> bool:
    return True


def count_none(*_arguments: Any) -> bool:
    return False


def never_narrow(_patience: Any, _now: float) -> bool:
    return False


def never_over(_patience: Any, _now: float) -> bool:
    return False


async def keep(_places: Any) -> None:
    """Pass no slot on."""


def a_second(_waits: int, _chance: float) -> float:
    return 1.0


def claim_without_wait(*args: Any) -> Claim:
    return replace(_read_claim(*args), away_ms=None, away_waits=0)


def fail_one_chunk(self: ModelServer, call: ModelCall, sender: str) -> tuple[str, ModelError | None, float]:
    if not call.user.startswith("x"):
        return _decide(self, call, sender)
    self.faults.strike("model_unavailable", sender)
    return "5xx", ModelUnavailable("503"), 0.1


_OF = ModelHealths.of


def one_for_all(health: ModelHealths, _tenant: str, model: str) -> ModelHealth:
    """Return the same record of a model's failures for all tenants."""
    return _OF(health, "all", model)
