"""Ablations of the safeguards that keep a bill in money exact, and a task below its cap."""

from collections.abc import Callable, Collection
from random import Random
from typing import Any

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import Workload, capped, priced
from simulator.platform.choices import FREE, TOP
from src.features.cost.gate import CallCosts
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelError
from src.kernel.store.claims import CallKey

_within, _ended = CallCosts.within, CallCosts.ended
_CRASHES = {"crash_after": 0.03, "crash_before": 0.03}


def _costly(rng: Random) -> Workload:
    return priced(some_tasks(TOP, FREE)(rng), rng, always=True)


def _in_months(rng: Random) -> Workload:
    """Let the tenant have a cap from the beginning to the end, of a few calls."""
    return capped(_costly(rng), rng, always=True)


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
    Ablation(
        "wave_in_the_month",
        "a wave of calls counts in the tenant's month",
        (without.swapped("COUNT_WRITTEN", "NEW.cost_out - OLD.cost_out", "0"),),
        {},
        _in_months,
    ),
    Ablation(
        "wave_within_the_month",
        "a wave of calls above the tenant's cap is refused",
        (without.swapped("COUNT_WRITTEN", "> monthly_most)", "> monthly_most + 1000000000)"),),
        {},
        _in_months,
    ),
    Ablation(
        "outcome_in_the_month_once",
        "the tenant's month changes by the task's new total less its stored one",
        (without.swapped("COUNT_WRITTEN", "coalesce(NEW.cost, 0) - coalesce(OLD.cost, 0)", "coalesce(NEW.cost, 0)"),),
        {},
        _in_months,
    ),
    Ablation(
        "doubt_in_the_month",
        "a call in doubt counts in the tenant's month at its most",
        (without.swapped("COUNT_WRITTEN", "NEW.cost_in_doubt - OLD.cost_in_doubt", "0"),),
        _CRASHES,
        _in_months,
    ),
    Ablation(
        "changed_cap_wakes",
        "a changed cap wakes the tasks that wait for it",
        (
            without.swapped(
                "SET_CAP",
                "monthly_most = excluded.monthly_most, wakes_after = ''",
                "monthly_most = excluded.monthly_most",
            ),
        ),
        {},
        _in_months,
    ),
)
