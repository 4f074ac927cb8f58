"""What a world can be made with, by name: deployments, fault plans and scheduling policies."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.policies import Policy, Priorities, choose_at_random, choose_first

type Faults = Literal["none", "everything", "swarm"] | dict[str, float] | FaultPlan
type Scheduling = Literal["fifo", "random", "priorities"] | Policy


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: whether it binds queues, Durable Objects and a bucket of R2. D1 is always bound."""

    name: str
    queue: bool
    objects: bool
    bucket: bool = False


TOP = Deployment("", queue=True, objects=True)
FREE = Deployment("free", queue=False, objects=True)
DIRECT = Deployment("direct", queue=False, objects=False)


def make_plan(faults: Faults, rng: Random, *, keep_timeline: bool) -> FaultPlan:
    """Return the fault plan for a world's argument `faults`."""
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
    """Return the scheduling policy for a world's argument `scheduling`."""
    if scheduling == "fifo":
        return choose_first
    if scheduling == "random":
        return choose_at_random(rng)
    if scheduling == "priorities":
        return Priorities(rng)
    return scheduling
