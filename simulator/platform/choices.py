"""The choices for a world: deployments, fault plans and scheduling policies by name."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.policies import Policy, Priorities, choose_at_random, choose_first

type Faults = Literal["none", "everything", "swarm"] | dict[str, float] | FaultPlan
type Scheduling = Literal["fifo", "random", "priorities"] | Policy


@dataclass(frozen=True, slots=True)
class Deployment:
    """The bindings of a deployment, besides D1."""

    name: str
    queue: bool
    objects: bool


TOP = Deployment("", queue=True, objects=True)
FREE = Deployment("free", queue=False, objects=True)
DIRECT = Deployment("direct", queue=False, objects=False)


def make_plan(faults: Faults, rng: Random, *, keep_timeline: bool) -> FaultPlan:
    """Make a fault plan from the argument of a world."""
    if isinstance(faults, FaultPlan):
        return faults
    if isinstance(faults, dict):
        return FaultPlan(rng, faults, keep_timeline=keep_timeline)
    if faults == "everything":
        return FaultPlan.everything(rng, keep_timeline=keep_timeline)
    if faults == "swarm":
        return FaultPlan.swarm(rng, keep_timeline=keep_timeline)
    return FaultPlan(rng, keep_timeline=keep_timeline)


def make_policy(scheduling: Scheduling, rng: Random) -> Policy:
    """Make a scheduling policy from the argument of a world."""
    if scheduling == "fifo":
        return choose_first
    if scheduling == "random":
        return choose_at_random(rng)
    if scheduling == "priorities":
        return Priorities(rng)
    return scheduling
