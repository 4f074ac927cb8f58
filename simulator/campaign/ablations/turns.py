"""Ablations of the safeguards for a clock that stands still within a turn, and for an object's `waitUntil`."""

import asyncio
from collections.abc import Awaitable
from random import Random

from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.shares import hooked
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.platform.choices import FREE
from src.kernel.domain import limits
from src.kernel.run.call_groups import CallGroups
from src.platform.surroundings import Background

_HEAR = CallGroups._hear
HOSTED = {"clock_standing": 1.0, "stock_loop": 1.0}
# With some slow model calls, groups of calls end at different times, so that some wait for others.
_UNEVEN = HOSTED | {"model_slow": 0.3}


async def _hear_on(self: CallGroups, hint: asyncio.Future[None] | None, seconds: float) -> bool:
    """Wait as the patched method does, but never report that the timer ended the wait: only the clock decides."""
    await _HEAR(self, hint, seconds)
    return False


def _raw(self: Background, work: Awaitable[None]) -> None:
    """Pass work to the context's `waitUntil` without wrapping it in a promise."""
    self._context.waitUntil(work)  # type: ignore[arg-type]


def _watched(rng: Random) -> Workload:
    """Draw tasks of 3, 5 or 6 chunks, each with two clients that follow its events."""
    deployment = rng.choice(DEPLOYMENTS)
    tasks = tuple(TaskSpec(rng.uniform(0, 5), rng.choice((3, 5, 6)), followed=2) for _ in range(3))
    return Workload(tasks, first=deployment, last=deployment)


def _told_by_objects(rng: Random) -> Workload:
    """Draw two tasks on objects, for tenants with webhook endpoints."""
    tasks = tuple(TaskSpec(rng.uniform(0, 5), rng.choice((1, 2, 3))) for _ in range(2))
    return hooked(Workload(tasks, first=FREE, last=FREE))


ABLATIONS = (
    Ablation(
        "waits_last_a_timer",
        "who waits for a moment of the clock waits by a timer, which moves the clock",
        ((limits, "TIMER_SECONDS_LEAST", 0.0),),
        _UNEVEN,
        _watched,
    ),
    Ablation(
        "timers_count",
        "a wait is over when its timer is, although the clock says a hair less",
        ((CallGroups, "_hear", _hear_on),),
        _UNEVEN,
        _watched,
    ),
    Ablation(
        "promises_of_objects",
        "what goes on behind an object's event is a task, and the object's context is given a promise",
        ((Background, "__call__", _raw),),
        {"promises_alone": 1.0},
        _told_by_objects,
    ),
)
