"""The circumstances in which a missing safeguard is noticed: fault rates, small workloads, and further patches."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from simulator.campaign.ablations import impatience
from simulator.campaign.ablations import substitutes as without
from simulator.campaign.checks import results
from simulator.campaign.clients.tenants import CROWD, TENANTS
from simulator.campaign.clients.workload import (
    DEPLOYMENTS,
    LONG_CHUNKS,
    PATIENCE,
    SLOW_VARIABLES,
    Action,
    TaskSpec,
    Workload,
)
from simulator.campaign.subject.patches import Patch
from simulator.platform import model, storage_cap
from simulator.platform.choices import FREE, TOP, Deployment
from simulator.platform.isolate import Isolate
from simulator.platform.rate_limits import RateLimit
from simulator.platform.shared_database import Sharing
from src.kernel.domain import limits
from src.kernel.run import claim_checks, write_pacer
from src.kernel.store import tasks
from src.kernel.work import worker

# The rates of the faults under which a worker goes on after it has lost its claim.
ZOMBIES = {"worker_frozen": 0.08, "object_zombie": 0.05, "duplicate_delivery": 0.3, "clock_jumped": 0.02}
CRASHES = {"crash_before": 0.05, "crash_after": 0.05}
# With this patch D1 never answers the store's check whether a task exists. In reality D1 rarely leaves the check
# whether a task exists unanswered, because the platform repeats failed reads.
NO_LOOKS: tuple[Patch, ...] = ((tasks.TaskStore, "is_there", without.look_in_vain),)
# With this patch workers do not check their claims: a worker that has lost its claim notices only at its next write.
BLIND: tuple[Patch, ...] = ((claim_checks.ClaimChecks, "next_at", without.never),)
# With this patch a call's record does not wait for other calls' records, so a task's last outputs and its end are two
# writes.
ALONE: tuple[Patch, ...] = ((limits, "LINGER_SECONDS_QUICK", 0.0), (limits, "LINGER_SECONDS_MOST", 0.0))
LOST_REPLIES = {"d1_failed_after_commit": 0.2}
# With this patch a frozen isolate stands still for 0.1 to 2 s, which is less than a call may take to start.
SHORT_FREEZES: tuple[Patch, ...] = ((Isolate, "freeze", without.freeze_shortly),)

# With this patch a frozen isolate stands still for 1 to 15 s: less than a call may take to start on a slow database.
FREEZES: tuple[Patch, ...] = ((Isolate, "freeze", without.freeze_a_while),)

# With this patch other callers share the database, so each call to it takes 2.4 or 4.8 s.
CROWDED: tuple[Patch, ...] = ((Sharing, "drawn", without.crowd),)
# With this patch workers give their model calls the same time to start on a slow database as on a quick one.
STUBBORN: tuple[Patch, ...] = (
    (write_pacer, "start_seconds", without.shortest_window),
    (worker, "start_seconds", without.shortest_window),
)


def beside_trouble(rng: Random) -> Workload:
    """Draw twelve tasks of one tenant whose calls all fail, and six sound tasks of another tenant that come later."""
    poisoned = tuple(TaskSpec(rng.uniform(0, 5), 1, tenant=TENANTS[0], poisoned=True) for _ in range(12))
    sound = tuple(TaskSpec(rng.uniform(10, 60), rng.randint(1, 4), tenant=TENANTS[1]) for _ in range(6))
    return Workload(tasks=poisoned + sound, consumers=50, variables={PATIENCE: "3600"}, short_slices=False)


def beside_greed(rng: Random) -> Workload:
    """Draw tasks of two tenants that wait for a dead model, and a modest tenant's, on a deployment with two slots."""
    dead = tuple(
        TaskSpec(rng.uniform(0, 5), 1, tenant=rng.choice(CROWD[:2]), poisoned=True) for _ in range(rng.choice((4, 12)))
    )
    sound = tuple(TaskSpec(rng.uniform(10, 60), rng.randint(1, 3), tenant=CROWD[2]) for _ in range(4))
    variables = {PATIENCE: "3600", "MAX_OBJECTS_AT_WORK": "2"}
    made = Workload(tasks=dead + sound, first=FREE, last=FREE, variables=variables, short_slices=False)
    return replace(made, modest=CROWD[2])


# With this patch the database stays full for 2 to 10 s at a time, which is less than half of a lease.
HELD_BRIEFLY: tuple[Patch, ...] = ((storage_cap, "HOLD_SECONDS", (2, 10)),)
# With these patches no output fits into a database page in use: each output gets its own segment, longer than a page.
TIDY: tuple[Patch, ...] = ((model, "output_of", without.long_output), (results, "output_of", without.long_output))

# With this patch each call for a text that begins with an x fails with 503.
ONE_CHUNK_FAILS: tuple[Patch, ...] = ((model.ModelServer, "_decide", impatience.fail_one_chunk),)


def some_tasks(*deployments: Deployment, **options: Any) -> Callable[[Random], Workload]:
    """Return a function that draws three tasks of 2, 4 or 6 chunks on one of the deployments."""

    def draw(rng: Random) -> Workload:
        first = rng.choice(deployments)
        specs = tuple(
            TaskSpec(at=rng.uniform(0, 5), chunks=rng.choice((2, 4, 6)), reduce=rng.choice(("concat", "merge")))
            for _ in range(3)
        )
        return replace(Workload(tasks=specs, first=first, last=first), **options)

    return draw


def long_trouble(rng: Random) -> Workload:
    """Draw two early tasks on objects and a third one 150 s later, so that faults last for minutes."""
    specs = tuple(TaskSpec(at=rng.uniform(0, 5) + late, chunks=4) for late in (0, 0, 150))
    return Workload(tasks=specs, first=FREE, last=FREE)


def cancelling(rng: Random) -> Workload:
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=6, actions=((rng.uniform(0, 3), "cancel"),)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def erasing(rng: Random) -> Workload:
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=4, actions=((rng.uniform(1, 9), "delete"),)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def merging(rng: Random) -> Workload:
    """Draw merge tasks of two chunks, which plan their merge soon.

    Clients of the drawn tasks erase all but the first task.
    """
    first = rng.choice((TOP, FREE))
    specs = tuple(
        TaskSpec(at=0, chunks=2, reduce="merge", actions=((rng.uniform(0, 6), "delete"),) if at else ())
        for at in range(5)
    )
    return Workload(tasks=specs, first=first, last=first)


def erasing_soon(rng: Random) -> Workload:
    """Draw tasks that clients erase within 3 s, while the write of the submission may still land late."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=2, actions=((rng.uniform(0, 3), "delete"),)) for _ in range(6))
    return Workload(tasks=specs, first=first, last=first)


def putting_back(rng: Random) -> Workload:
    """Draw tasks that clients cancel and retry twice."""
    first = rng.choice(DEPLOYMENTS)
    actions: list[Action] = ["cancel", "retry", "cancel", "retry"]
    specs = tuple(
        TaskSpec(at=0, chunks=6, actions=tuple((1 + 2 * turn + rng.random(), act) for turn, act in enumerate(actions)))
        for _ in range(5)
    )
    return Workload(tasks=specs, first=first, last=first)


def cancelling_late(*deployments: Deployment, chunks: int, concurrency: int = 1) -> Callable[[Random], Workload]:
    """Return a function that draws tasks with many calls, which clients cancel before the tasks end."""
    variables = {"AI_CONCURRENCY": str(concurrency)}

    def draw(rng: Random) -> Workload:
        first = rng.choice(deployments)
        specs = tuple(TaskSpec(at=0, chunks=chunks, actions=((rng.uniform(0.5, 8), "cancel"),)) for _ in range(5))
        return Workload(tasks=specs, first=first, last=first, short_slices=False, variables=variables)

    return draw


def holding_up(*deployments: Deployment, long: bool = False) -> Callable[[Random], Workload]:
    """Return a function that draws tasks that clients cancel during the slow first call; `long` tasks have lanes."""

    def draw(rng: Random) -> Workload:
        first = rng.choice(deployments)
        chunks = LONG_CHUNKS if long else 2
        specs = tuple(
            TaskSpec(at=0, chunks=chunks, slow=True, actions=((rng.uniform(3, 30), "cancel"),)) for _ in range(3)
        )
        return Workload(tasks=specs, first=first, last=first, short_slices=False, variables=SLOW_VARIABLES)

    return draw


def hurried(rng: Random) -> Workload:
    """Draw tasks whose deadline comes at about the time when they would complete."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(
        TaskSpec(at=0, chunks=chunks, deadline_seconds=rng.uniform(1, 2 + chunks)) for chunks in (1, 2, 3, 4, 6, 6)
    )
    return Workload(tasks=specs, first=first, last=first, short_slices=False)


def thrifty(rng: Random) -> Workload:
    """Draw tasks that need more calls than their budget allows."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=4, max_calls=rng.randint(1, 4)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def twins(rng: Random) -> Workload:
    """Draw five tasks, each submitted twice at the same time under one idempotency key."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 2), chunks=1, idempotent=True, twin=True) for _ in range(5))
    return Workload(tasks=specs, first=first, last=first)


def waiting_long(rng: Random, seconds: float = 300) -> Workload:
    """Draw tasks whose clients poll only after `seconds`, so that faults last for that time."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=6, actions=((seconds, "poll"),)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def bearing_absence(rng: Random, seconds: float = 3_600) -> Workload:
    """Draw tasks that wait `seconds` for a model that is away, with faults that last until the model is back."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 5), chunks=6) for at in range(3))
    variables = {PATIENCE: str(seconds)}
    return Workload(tasks=specs, first=first, last=first, variables=variables, sits_out=True)


def resuming(rng: Random) -> Workload:
    """Draw tasks that wait for a model that is away, while an operator ends their pauses again and again."""
    return replace(bearing_absence(rng), resumes=True)


def one_fails(rng: Random) -> Workload:
    """Draw a task whose first chunk fails, and sound tasks every 20 s, whose calls prove that the model answers."""
    workload = bearing_absence(rng)
    specs = (TaskSpec(at=0, chunks=6, refused=True), *(TaskSpec(at=20 * number, chunks=2) for number in range(50)))
    return replace(workload, tasks=specs)


def refused(rng: Random) -> Workload:
    """Draw tasks of six chunks whose first chunk the model refuses while calls for other chunks are in flight."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 5), chunks=6, refused=True) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def metered(rng: Random) -> Workload:
    """Draw one tenant that exceeds its limit of requests in a minute, and another tenant that sends few requests."""
    first = rng.choice(DEPLOYMENTS)
    asks: tuple[tuple[float, Action], ...] = tuple((rng.uniform(0, 5), "list") for _ in range(3))
    busy = [TaskSpec(at=rng.uniform(0, 5), chunks=1, tenant=TENANTS[0], actions=asks) for _ in range(3)]
    quiet = TaskSpec(at=rng.uniform(0, 5), chunks=1, tenant=TENANTS[1])
    return Workload(tasks=(*busy, quiet), first=first, last=first, rate_limit=RateLimit(3))
