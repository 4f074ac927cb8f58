"""The fault plan decides from a seed which faults strike, counts them by kind, and can be stopped.

Each place where a fault can strike *offers* the fault by name, and the plan decides whether the fault *fires*.
Exhaustive tests use a crash plan besides: the isolate dies at the k-th suspension point of the run, before or after the
effect of that point.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from random import Random
from typing import Any, Literal

from simulator.engine.fault_kinds import (
    BROWN_OUT,
    CPU_LIMIT,
    DEAD_TRIGGERS,
    HOSTED,
    KINDS,
    LATE_ANSWER,
    MISFORMED,
    MODEL_AWAY,
    POISONED,
    R2,
    RATE_LIMITER,
    RECEIVER,
    RECEIVERS_HANG,
    STANDING,
    STORAGE,
    STREAM_CUT,
)

type When = Literal["before", "after"]


def hosted_rates(rng: Random) -> dict[str, float]:
    """Draw the rates of the faults that imitate Cloudflare's runtime.

    In half of the schedules the clocks of all isolates stand still within a turn. In the other half of the schedules,
    unrelated code may run between an event and the code that waited for it, as on Python's own loop. In all schedules
    an object's context accepts only promises.
    """
    if rng.random() < 0.5:
        return {"promises_alone": 1.0}
    overtaken = KINDS["handle_overtaken"].rate * rng.choice((0, 1, 1, 6))
    return {
        "promises_alone": 1.0,
        "clock_standing": 1.0,
        "stock_loop": float(rng.random() < 0.5),
        "handle_overtaken": overtaken,
    }


class FaultCount:
    """How often one kind of fault was offered, and how often it struck.

    `last_at` is when the fault last struck, by the plan's clock.
    """

    __slots__ = ("fired", "last_at", "offered", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.offered = 0
        self.fired = 0
        self.last_at = -math.inf


class FaultPlan:
    """Decides which faults strike. The same seed and the same offers give the same decisions of the plan.

    `muted` has the ordinals of faults to leave out: shrinking replays a seed with more and more muted faults.
    `crash_at` maps the ordinal of a suspension point, from 1, to "before" or "after" the point's effect.
    """

    def __init__(
        self,
        rng: Random,
        rates: Mapping[str, float] | None = None,
        *,
        crash_at: Mapping[int, When] | None = None,
        muted: Iterable[int] = (),
        keep_timeline: bool = False,
    ) -> None:
        rates = rates or {}
        unknown = rates.keys() - KINDS.keys()
        assert not unknown, f"no such fault kinds: {sorted(unknown)}"
        self.rng = rng
        self.active = True
        self.tallies = {name: FaultCount(rates.get(name, 0.0)) for name in KINDS}
        self.fired_in_order: list[str] = []
        self.points = 0
        self.point_labels: list[str] | None = None
        self.timeline: list[tuple[float, str, str, object]] | None = [] if keep_timeline else None
        self.clock: Callable[[], float] = float
        self._random = rng.random
        self._crash_at = dict(crash_at or {})
        self._muted = frozenset(muted)

    @classmethod
    def everything(cls, rng: Random, *, scale: float = 1.0, keep_timeline: bool = False) -> "FaultPlan":
        """Make a plan in which every kind of fault has its usual rate, times `scale`."""
        rates = {kind.name: min(1.0, kind.rate * scale) for kind in KINDS.values()}
        return cls(rng, rates, keep_timeline=keep_timeline)

    @classmethod
    def swarm(cls, rng: Random, *, keep_timeline: bool = False) -> "FaultPlan":
        """Make a plan in which the seed makes each kind of fault absent, rare, usual or frequent.

        Varied runs find more bugs than similar runs: Groce et al., "Swarm Testing", ISSTA 2012.
        """
        # The faults of the rate limiter always have their usual rates, so that older seeds give the same runs.
        rates = {name: KINDS[name].rate for name in RATE_LIMITER}
        apart = {*RATE_LIMITER, *DEAD_TRIGGERS, "d1_shared", STORAGE, MODEL_AWAY, STREAM_CUT, *RECEIVER, *HOSTED}
        apart |= {BROWN_OUT, POISONED, LATE_ANSWER, CPU_LIMIT, STANDING, RECEIVERS_HANG, *MISFORMED, *R2}
        others = [kind for kind in KINDS.values() if kind.name not in apart]
        rates |= {kind.name: min(0.5, kind.rate * rng.choice((0, 0.3, 1, 3))) for kind in others}
        # A shared database slows the whole run. The rate of `d1_shared` comes from a separate random stream, so that
        # older seeds give the same runs.
        rates["d1_shared"] = KINDS["d1_shared"].rate * Random(f"{sorted(rates.items())}").choice((0, 0, 0, 3))
        rates[STORAGE] = KINDS[STORAGE].rate * Random(f"{sorted(rates.items())}/{STORAGE}").choice((0, 0, 0, 1))
        rates |= {name: KINDS[name].rate for name in (*DEAD_TRIGGERS, *RECEIVER)}
        rates[STREAM_CUT] = KINDS[STREAM_CUT].rate
        rates[MODEL_AWAY] = KINDS[MODEL_AWAY].rate * Random(f"{MODEL_AWAY} {sorted(rates.items())}").choice(
            (0, 0, 1, 3)
        )
        rates |= hosted_rates(Random(f"hosted {sorted(rates.items())}"))
        for name in (BROWN_OUT, POISONED, LATE_ANSWER, STANDING, *R2):
            rates[name] = KINDS[name].rate * Random(f"{name} {sorted(rates.items())}").choice((0, 0, 1, 3))
        return cls(rng, rates, keep_timeline=keep_timeline)

    def fires(self, name: str, actor: str = "", scale: float = 1.0) -> bool:
        """Offer the fault `name`, and return whether it strikes.

        A `scale` below 1 makes the fault rarer at a place where it is rarer on the real platform.
        """
        tally = self.tallies[name]
        tally.offered += 1
        if not self.active or tally.rate == 0.0 or self._random() >= tally.rate * scale:
            return False
        return self.strike(name, actor)

    def strike(self, name: str, actor: str = "") -> bool:
        """Let the fault `name` strike and count it, for a caller that has decided that it strikes.

        The result of `strike` is False if the fault is muted.
        """
        self.fired_in_order.append(name)
        if len(self.fired_in_order) in self._muted:
            return False
        tally = self.tallies[name]
        tally.fired += 1
        tally.last_at = self.clock()
        if self.timeline is not None:
            self.record(actor, "fault", name)
        return True

    def keep(self, names: Collection[str], rates: Mapping[str, float]) -> None:
        """From now on let only faults with the given names strike. `rates` adds further faults with their rates."""
        for name, tally in self.tallies.items():
            tally.rate = rates.get(name, tally.rate if name in names else 0.0)

    def stop(self) -> None:
        """Stop the faults, so that none strikes from now on and the world must become quiet."""
        self.active = False
        self.record("platform", "faults stop", "")

    def point(self, label: str, scope: object = None) -> When | None:
        """Count a suspension point. Returns whether and when the isolate dies at this point under the crash plan.

        If `point_labels` is a list, the point is added to the list as `handler:call`.
        """
        self.points += 1
        if self.point_labels is not None:
            self.point_labels.append(f"{getattr(scope, 'label', '-')}:{label}")
        return self._crash_at.get(self.points)

    def between(self, low: float, high: float) -> float:
        """Draw a number between `low` and `high` for the size of a fault."""
        return low + (high - low) * self._random()

    def record(self, actor: str, event: str, detail: object) -> None:
        """Add a line to the timeline of a failure report, if the timeline is kept."""
        if self.timeline is not None:
            self.timeline.append((self.clock(), actor, event, detail))

    def fired_by_number(self) -> dict[int, int]:
        """Return how often faults struck, by the faults' numbers in the design's list of faults."""
        counts = dict.fromkeys(sorted({kind.number for kind in KINDS.values()}), 0)
        for name, tally in self.tallies.items():
            counts[KINDS[name].number] += tally.fired
        return counts

    def report(self) -> str:
        """Return the timeline with one line for each event: seconds, actor, event, detail."""
        return "\n".join(
            f"{at:12.6f}  {actor:<28} {event:<18} {detail}" for at, actor, event, detail in self.timeline or ()
        )


class PersistentFault:
    """A fault plan in which one fault strikes at every offer, even after faults have stopped.

    All other faults strike as the underlying plan decides.
    """

    active = True

    def __init__(self, plan: FaultPlan, fault: str) -> None:
        self._plan = plan
        self._fault = fault

    def fires(self, name: str, actor: str = "", scale: float = 1.0) -> bool:
        """Let the persistent fault strike at each offer, and other faults as the underlying plan decides."""
        return self._plan.strike(name, actor) if name == self._fault else self._plan.fires(name, actor, scale)

    def between(self, low: float, high: float) -> float:
        """Return `low`, so that every fault has its smallest size."""
        return low

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan, name)
