"""Ablations of the safeguards that keep a bill in money exact, and a task below its cap."""

from collections.abc import Callable, Collection
from random import Random
from typing import Any

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import Workload, priced
from simulator.platform.choices import FREE, TOP
from src.features.cost.gate import CallCosts
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelError
from src.kernel.store.claims import CallKey

_within, _ended = CallCosts.within, CallCosts.ended
_CRASHES = {"crash_after": 0.03, "crash_before": 0.03}


def _costly(rng: Random) -> Workload:
    return priced(some_tasks(TOP, FREE)(rng), rng, always=True)


def _without_those_out(
    self: Any, starting: list[CallKey], out: Collection[CallKey], message: Callable[[CallKey], ModelCall]
) -> list[CallKey]:
    kept = {key: self._out[key] for key in out if key in self._out}
    allowed = _within(self, starting, (), message)
    self._out |= kept
    return allowed


def _booked_twice(self: Any, key: CallKey, outcome: ModelReply | ModelError | None) -> None:
    call = self._out.get(key)
    _ended(self, key, outcome)
    if call is not None and isinstance(outcome, ModelReply):
        self._out[key] = call
        _ended(self, key, outcome)


ABLATIONS = (
    Ablation(
        "wave_in_the_cap",
        "a wave of calls is announced beside the most of those that are out",
        ((CallCosts, "within", _without_those_out),),
        {},
        _costly,
    ),
    Ablation(
        "outcome_booked_once",
        "the outcome of a call is booked once",
        ((CallCosts, "ended", _booked_twice),),
        {},
        _costly,
    ),
    Ablation(
        "doubt_at_its_most",
        "the calls of a dead worker are in doubt at their most",
        (without.swapped("CLAIM", "cost_in_doubt = cost_in_doubt + cost_out, cost_out = 0", "cost_out = 0"),),
        _CRASHES,
        _costly,
    ),
)
