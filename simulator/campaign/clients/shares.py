"""Features of a workload that only a share of the schedules has: webhooks, tasks from `/v1`, one tenant in trouble.

Each feature of a workload is drawn from a random stream of its own, so that schedules without the feature stay the
same.
"""

from dataclasses import replace
from random import Random

from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.tenants import CROWD, TENANTS
from simulator.campaign.clients.workload import LIMITS_OF_TENANTS, PATIENCE, Action, TaskSpec, Workload, draw
from simulator.platform.choices import DIRECT, FREE, TOP
from simulator.platform.rate_limits import RateLimit
from src.kernel.domain.ids import LOCAL

HOOKED_SHARE = 0.12
RESPONSES_SHARE = 0.12
CONTEXT_SHARE = 0.15
CLOCKS_AGREE_SHARE = 0.75  # The share of schedules with tasks from `/v1` in which the isolates' clocks agree.
# Of the schedules that draw their own profile, the share in which all calls of one tenant's tasks for a chunk fail.
BESIDE_SHARE = 0.06
# Of the other schedules that draw their own profile, the share with two greedy tenants beside a modest one.
RESUMED_SHARE = 0.4  # Of the runs without keys: those with an operator who ends pauses.
GREEDY_SHARE = 0.03
# Of the schedules that draw their own profile, the share in which all webhook receivers of one tenant hang.
HANGING_SHARE = 0.01
HANGING_TASKS = 40
HANGING_SECONDS = 120.0  # For how many seconds receivers hang in such a schedule, and other tenants' tasks come.
CROWD_TASKS = 200
CROWD_SECONDS = 60.0  # The seconds in which all tasks of a crowd arrive.
# By profile: the share of schedules in which the model goes away and nothing else disturbs the workers.
ALONE_SHARE = {"swarm": 0.05, "everything": 0.05, "away": 0.25}
WEBHOOK_KEY = "simulated-key-of-32-characters-or-more"


def hooked(workload: Workload) -> Workload:
    """Return the workload with webhook endpoints for each tenant."""
    return replace(workload, webhooks=True, variables=workload.variables | {"WEBHOOK_KEY": WEBHOOK_KEY})


def kernels(workload: Workload) -> Workload:
    """Return the workload with what the kernel serves without features: tasks of `/api/tasks` with a text in them."""
    served = [
        replace(
            spec,
            response=False,
            form="",
            gap_share=None,
            text_in_file="",
            context=0,
            headings=False,
            actions=tuple(one for one in spec.actions if one[1] not in {"mend", "status"}),
        )
        for spec in workload.tasks
    ]
    return replace(workload, tasks=tuple(served), batches=(), webhooks=False, hanging="", modest="")


def with_context(workload: Workload, rng: Random, *, often: bool = False) -> Workload:
    """In a share `CONTEXT_SHARE` of the runs, in half of them if `often`, let context or headings go along with chunks.

    The release before refuses such tasks.
    """
    if workload.older_isolates or rng.random() >= (0.5 if often else CONTEXT_SHARE):
        return workload
    tasks = tuple(
        replace(spec, overlap=0, context=rng.choice((0, 4, 10, 15, 35)), headings=rng.random() < 0.5)
        if rng.random() < 0.8
        else spec
        for spec in workload.tasks
    )
    return replace(workload, tasks=tasks)


def some_hooked(workload: Workload, rng: Random) -> Workload:
    """Give each tenant webhook endpoints in a share `HOOKED_SHARE` of the runs."""
    return hooked(workload) if rng.random() < HOOKED_SHARE else workload


def undisturbed(workload: Workload) -> Workload:
    """Return the workload without deployments, with tasks that wait for a model that is away until it is back."""
    variables = workload.variables | {PATIENCE: "3600"}
    return replace(workload, changes=(), last=workload.first, variables=variables, sits_out=True)


def beside(workload: Workload, rng: Random) -> Workload:
    """Give half of the tasks to one tenant, with a chunk that always fails, and the rest to another tenant, later."""
    half = -(-len(workload.tasks) // 2)
    tasks = [replace(spec, tenant=TENANTS[0], poisoned=True) for spec in workload.tasks[:half]]
    later = [(spec, rng.uniform(3, 60)) for spec in workload.tasks[half:]]
    tasks += [replace(spec, at=at, tenant=TENANTS[1], refused=False) for spec, at in later]
    return replace(undisturbed(workload), tasks=tuple(tasks))


def greedy(workload: Workload, rng: Random) -> Workload:
    """Return a workload of two greedy tenants, and a modest one with a few small tasks.

    A greedy tenant has many tasks that wait for a model that is away. If objects have no slots, it also has long tasks,
    large merges, and batches whose first line is refused or whose lines fail. All tenants have webhooks.
    """
    many, few = CROWD[:2], CROWD[2]
    first = rng.choice((TOP, FREE, FREE, DIRECT))
    slots = {"MAX_OBJECTS_AT_WORK": rng.choice(("2", "4"))} if first is FREE and rng.random() < 0.7 else {}
    tasks = [
        TaskSpec(at=rng.uniform(0, 20), chunks=1, poisoned=True, tenant=rng.choice(many))
        for _ in range(rng.choice((4, 8, 16)))
    ]
    batches: tuple[BatchSpec, ...] = ()
    if not slots:
        tasks += [
            TaskSpec(at=rng.uniform(0, 20), chunks=rng.choice((13, 20)), reduce="merge", tenant=rng.choice(many))
            for _ in range(rng.choice((0, 2, 4)))
        ]
        batches = tuple(
            BatchSpec(rng.uniform(0, 20), rng.choice((7, 20)), tenant=rng.choice(many), mark=rng.choice("xpw"))
            for _ in range(rng.choice((0, 0, 1, 2)))
        )
    tasks += [TaskSpec(at=rng.uniform(5, 90), chunks=rng.choice((1, 2, 3)), tenant=few) for _ in range(4)]
    drawn = replace(
        hooked(undisturbed(workload)),
        tasks=tuple(tasks),
        batches=batches,
        bucket=rng.random() < 0.7,
        first=first,
        last=first,
        batch=1,
        consumers=50,
        short_slices=False,
        small_parts=False,
        small_windows=False,
        rate_limit=None,
        older_isolates=0.0,
        modest=few,
    )
    names = {*LIMITS_OF_TENANTS, "MAX_OBJECTS_AT_WORK", "AI_TIMEOUT_SECONDS", "LEASE_SECONDS"}
    kept = {name: value for name, value in drawn.variables.items() if name not in names}
    return replace(drawn, variables=kept | slots)


def beside_hanging(rng: Random) -> Workload:
    """Return a workload with a tenant whose webhook receivers all hang, and tasks of another tenant beside it.

    The first tenant's tasks come one a second, and have one call each of two seconds at most. So they alone never
    occupy all consumers.
    """
    tasks = [TaskSpec(at=number + rng.random() / 4, chunks=1, tenant=TENANTS[0]) for number in range(HANGING_TASKS)]
    tasks += [TaskSpec(at=rng.uniform(3, HANGING_SECONDS), chunks=1, tenant=TENANTS[1]) for _ in range(12)]
    first = rng.choice((TOP, TOP, TOP, FREE, DIRECT))
    workload = Workload(tasks=tuple(tasks), first=first, last=first, short_slices=False, hanging=TENANTS[0])
    return hooked(workload)


def some_hanging(workload: Workload, rng: Random, *, always: bool, never: bool) -> Workload:
    """Replace the workload by one with receivers that hang in a share `HANGING_SHARE` of the runs, always or never."""
    share = 1.0 if always else 0.0 if never else HANGING_SHARE
    return beside_hanging(rng) if rng.random() < share else workload


def crowded(workload: Workload, rng: Random) -> Workload:
    """Return a workload in which 200 tasks of four tenants come within a minute.

    Most tasks belong to one tenant, and three tenths of that tenant's tasks are poisoned.

    Slices keep their usual length, because with slices of five seconds each pause of a poisoned chunk would end its run
    and cost the writes of another run.
    """
    drawn = [spec for _ in range(CROWD_TASKS // 2) for spec in draw(rng).tasks][:CROWD_TASKS]
    tasks = []
    for spec in drawn:
        tenant = rng.choice((*CROWD, *CROWD[:1] * 6))
        poisoned = tenant == CROWD[0] and rng.random() < 0.3
        tasks.append(replace(spec, at=rng.uniform(0, CROWD_SECONDS), tenant=tenant, poisoned=poisoned))
    return replace(workload, tasks=tuple(tasks), consumers=rng.choice((4, 10, 250)), short_slices=False)


def metered(workload: Workload, rng: Random) -> Workload:
    """In some runs, bind the limiter of requests, mostly with two tenants, and let clients send more requests."""
    if rng.random() >= 0.07:
        return workload
    tenants = rng.choice(((LOCAL,), TENANTS, TENANTS, TENANTS))
    tasks = [
        replace(
            spec,
            tenant=spec.tenant if workload.keyed else rng.choice(tenants),
            actions=tuple(sorted((*spec.actions, *_glances(rng)))),
        )
        for spec in workload.tasks
    ]
    most, locations = rng.choice((1, 2, 3, 4, 6)), rng.choice((1, 1, 2))
    rate_limit = RateLimit(most, locations=locations, lag_seconds=rng.choice((0, 0, 1)))
    return replace(workload, tasks=tuple(tasks), rate_limit=rate_limit)


def _glances(rng: Random) -> list[tuple[float, Action]]:
    return [(rng.uniform(0, 10), rng.choice(("list", "chunks", "status"))) for _ in range(rng.choice((0, 1, 1, 3)))]


def responded(workload: Workload, rng: Random) -> Workload:
    """In a share `RESPONSES_SHARE` of the runs, let clients submit and follow most tasks through `/v1`.

    A run with limits of tenants has no tasks from `/v1`, because a refusal by `/v1` does not say which limit it was.
    """
    if rng.random() >= RESPONSES_SHARE or any(name in workload.variables for name in LIMITS_OF_TENANTS):
        return workload
    tasks = tuple(_response(spec, rng) if rng.random() < 0.7 else spec for spec in workload.tasks)
    return replace(workload, tasks=tasks)


def _response(spec: TaskSpec, rng: Random) -> TaskSpec:
    cut_off = rng.random() < 0.3
    return replace(spec, response=True, cut_off=cut_off, followed=spec.followed or rng.choice((0, 0, 1, 1, 2)))
