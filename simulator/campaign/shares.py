"""What a share of the schedules has besides: endpoints of webhooks, tasks from `/v1`, nothing that disturbs.

Each is drawn from a stream of its own, so that schedules without it stay what they were.
"""

from dataclasses import replace
from random import Random

from simulator.campaign.workload import PATIENCE, TaskSpec, Workload

HOOKED_SHARE = 0.12
RESPONSES_SHARE = 0.12
CLOCKS_AGREE_SHARE = 0.75  # of the schedules with responses
# By profile: of the schedules in which the model is away and nothing else disturbs whoever works.
ALONE_SHARE = {"swarm": 0.05, "everything": 0.05, "away": 0.25}
WEBHOOK_KEY = "simulated-key-of-32-characters-or-more"
_LIMITS = ("MAX_TASKS_IN_FLIGHT", "MAX_CHARACTERS_PER_DAY")


def hooked(workload: Workload) -> Workload:
    """Give each tenant endpoints for webhooks."""
    return replace(workload, webhooks=True, variables=workload.variables | {"WEBHOOK_KEY": WEBHOOK_KEY})


def some_hooked(workload: Workload, rng: Random) -> Workload:
    """The same in some runs."""
    return hooked(workload) if rng.random() < HOOKED_SHARE else workload


def undisturbed(workload: Workload) -> Workload:
    """Have nobody deploy, tasks bear a model that is away, and faults last until it is back."""
    variables = workload.variables | {PATIENCE: "3600"}
    return replace(workload, changes=(), last=workload.first, variables=variables, sits_out=True)


def responded(workload: Workload, rng: Random) -> Workload:
    """Have clients submit tasks as OpenAI's SDKs do in some runs, and follow them.

    Not where tenants have limits: below `/v1` a refusal does not say which limit it was.
    """
    if rng.random() >= RESPONSES_SHARE or any(name in workload.variables for name in _LIMITS):
        return workload
    tasks = tuple(_response(spec, rng) if rng.random() < 0.7 else spec for spec in workload.tasks)
    return replace(workload, tasks=tasks)


def _response(spec: TaskSpec, rng: Random) -> TaskSpec:
    cut_off = rng.random() < 0.3
    return replace(spec, response=True, cut_off=cut_off, followed=spec.followed or rng.choice((0, 0, 1, 1, 2)))
