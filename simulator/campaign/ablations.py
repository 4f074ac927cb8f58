"""Safeguards of the Worker, each with the way to switch it off for the length of a run, and where that must show.

Nothing in `src/` is edited: an ablation swaps a statement, a function or a limit in the running interpreter.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from simulator.campaign import substitutes as without
from simulator.campaign.run import Result, run_seed
from simulator.campaign.tenants import TENANTS
from simulator.campaign.workload import DEPLOYMENTS, LONG_CHUNKS, Change, TaskSpec, Workload
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.isolate import Isolate
from simulator.platform.rate_limits import RateLimit
from src import composition
from src.core import limits
from src.http import rate_limit, router
from src.objects import ai_processor
from src.processing import crew, dispatch, ledger, sweep, terms
from src.queue import consumer
from src.store import rows, tasks
from src.store.database import Database
from src.store.sql import ending
from src.store.sql.fragments import NOW

# Faults under which a worker outlives its claim.
ZOMBIES = {"worker_frozen": 0.08, "object_zombie": 0.05, "duplicate_delivery": 0.3, "clock_jumped": 0.02}
CRASHES = {"crash_before": 0.05, "crash_after": 0.05}
# D1 that answers no look for a task: rare, since the platform repeats reads, and what withdrawals are for.
NO_LOOKS: tuple[without.Patch, ...] = ((tasks.TaskStore, "is_there", without.look_in_vain),)
LOST_REPLIES = {"d1_failed_after_commit": 0.2}
# Isolates that stand still for less than a call may take to start: 0.1 to 2 s.
SHORT_FREEZES: tuple[without.Patch, ...] = ((Isolate, "freeze", without.freeze_shortly),)


@dataclass(frozen=True, slots=True)
class Ablation:
    """A safeguard that is switched off by `patches`. `rates` and `workload` are where its absence shows."""

    name: str
    safeguard: str
    patches: tuple[without.Patch, ...]
    rates: dict[str, float] = field(default_factory=dict)
    workload: Callable[[Random], Workload] | None = None
    circumstances: tuple[without.Patch, ...] = ()  # what breaks in the control run, too

    def run(self, seed: int, *, ablated: bool = True) -> Result:
        """Run one seed with the safeguard off, or, as a control, on."""
        chosen = None if self.workload is None else self.workload(Random(f"{seed}/{self.name}"))
        with _patched(self.circumstances), _patched(self.patches if ablated else ()):
            return run_seed(seed, fault_rates=self.rates, workload=chosen)


@contextmanager
def _patched(patches: tuple[without.Patch, ...]) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, value in patches:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _some_tasks(*deployments: Deployment, **options: Any) -> Callable[[Random], Workload]:
    """Three tasks of some chunks on one of the deployments."""

    def draw(rng: Random) -> Workload:
        first = rng.choice(deployments)
        specs = tuple(
            TaskSpec(at=rng.uniform(0, 5), chunks=rng.choice((2, 4, 6)), reduce=rng.choice(("concat", "merge")))
            for _ in range(3)
        )
        return replace(Workload(tasks=specs, first=first, last=first), **options)

    return draw


def _cancelling(rng: Random) -> Workload:
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=6, actions=((rng.uniform(0, 3), "cancel"),)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def _erasing(rng: Random) -> Workload:
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=4, actions=((rng.uniform(1, 9), "delete"),)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def _cancelling_late(*deployments: Deployment, chunks: int, concurrency: int = 1) -> Callable[[Random], Workload]:
    """Tasks of many calls that are cancelled somewhere in between."""
    variables = {"AI_CONCURRENCY": str(concurrency)}

    def draw(rng: Random) -> Workload:
        first = rng.choice(deployments)
        specs = tuple(TaskSpec(at=0, chunks=chunks, actions=((rng.uniform(0.5, 8), "cancel"),)) for _ in range(5))
        return Workload(tasks=specs, first=first, last=first, short_slices=False, variables=variables)

    return draw


def _hurried(rng: Random) -> Workload:
    """Tasks that end about when their deadline comes."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(
        TaskSpec(at=0, chunks=chunks, deadline_seconds=rng.uniform(1, 2 + chunks)) for chunks in (1, 2, 3, 4, 6, 6)
    )
    return Workload(tasks=specs, first=first, last=first, short_slices=False)


def _thrifty(rng: Random) -> Workload:
    """Tasks that need more calls than they may make."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=4, max_calls=rng.randint(1, 4)) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def _twins(rng: Random) -> Workload:
    """Pairs of submissions under one key."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 2), chunks=1, idempotent=True, twin=True) for _ in range(5))
    return Workload(tasks=specs, first=first, last=first)


def _refused(rng: Random) -> Workload:
    """Tasks whose first chunk the model turns down, while others are out."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 5), chunks=6, refused=True) for _ in range(3))
    return Workload(tasks=specs, first=first, last=first)


def _metered(rng: Random) -> Workload:
    """A tenant with more requests than it may have in a minute, and another one with few."""
    first = rng.choice(DEPLOYMENTS)
    asks = tuple((rng.uniform(0, 5), "list") for _ in range(3))
    busy = [TaskSpec(at=rng.uniform(0, 5), chunks=1, tenant=TENANTS[0], actions=asks) for _ in range(3)]
    quiet = TaskSpec(at=rng.uniform(0, 5), chunks=1, tenant=TENANTS[1])
    return Workload(tasks=(*busy, quiet), first=first, last=first, rate_limit=RateLimit(3))


ABLATIONS = (
    Ablation(
        "fence_in_checkpoint",
        "outputs of a worker that lost its claim are refused",
        (without.swapped("CHECKPOINT", without.FENCED, without.UNFENCED),),
        {"worker_frozen": 0.15, "duplicate_delivery": 0.5},
    ),
    Ablation(
        "fence_in_progress",
        "totals and announcements of a worker that lost its claim are refused",
        (without.swapped("PROGRESS", without.FENCED, without.UNFENCED),),
        ZOMBIES,
    ),
    Ablation(
        "fence_in_release",
        "a worker that lost its claim cannot give the task away",
        (without.swapped("RELEASE", without.FENCED, without.UNFENCED),),
        ZOMBIES | LOST_REPLIES,
        _some_tasks(TOP, FREE),
    ),
    Ablation(
        "fence_in_finish",
        "a worker that lost its claim cannot complete the task",
        (without.swapped("FINISH", without.FENCED, without.UNFENCED),),
        {"worker_frozen": 0.15, "duplicate_delivery": 0.5},
    ),
    Ablation(
        "lease_in_claim",
        "a duplicate that meets a live lease does nothing",
        (without.swapped("CLAIM", f"lease_until <= {NOW} OR", "1 OR"),),
        {"duplicate_delivery": 0.5},
        _some_tasks(TOP),
    ),
    Ablation(
        "database_clock",
        "leases are judged by the database's clock, not by isolates'",
        ((Database, "run", without.run_by_isolates_clock),),
        {"clock_skewed": 0.6, "duplicate_delivery": 0.5},
        _some_tasks(TOP),
    ),
    Ablation(
        "intent_record",
        "calls are announced before they are made",
        (
            (ledger.Ledger, "progress", without.progress_without_intent),
            (tasks.TaskStore, "claim", without.claim_without_intent),
        ),
        CRASHES,
    ),
    Ablation(
        "doubt_at_take_over",
        "what a dead worker had announced is put in doubt",
        (
            without.swapped(
                "CLAIM",
                "calls_in_doubt + CASE WHEN holder IS NOT :holder THEN json_array_length(in_flight) ELSE 0 END",
                "calls_in_doubt",
            ),
        ),
        CRASHES,
    ),
    Ablation(
        "failure_in_claim",
        "a call that failed for good is not made again by the next worker",
        (without.swapped("CLAIM_FAILURES", "task_id = :task_key AND", "task_id = :task_key AND final = 0 AND"),),
        CRASHES,
        _refused,
    ),
    Ablation(
        "look_before_repeating",
        "a write of a task whose answer was lost is looked for before another is made",
        ((tasks.TaskStore, "is_there", without.look_nowhere),),
        LOST_REPLIES,
    ),
    Ablation(
        "idempotent_checkpoint",
        "an output that is written again is the same output",
        (without.swapped("CHECKPOINT", "ON CONFLICT DO NOTHING", ""),),
        LOST_REPLIES,
    ),
    Ablation("absolute_totals", "totals are written as totals", without.incremental(), LOST_REPLIES),
    Ablation(
        "sweep",
        "the cron trigger brings back what nobody else will",
        ((sweep.Sweep, "run", without.sweep_nothing),),
        {"message_lost": 0.3, "crash_before_enqueue": 0.2},
        _some_tasks(TOP),
    ),
    Ablation(
        "send_fall_through",
        "a task that the queue refuses goes to the next route",
        ((dispatch.Dispatcher, "dispatch", without.dispatch_to_first),),
        {},
        _some_tasks(TOP, queue_fate="send_failed"),
    ),
    Ablation(
        "dead_letter_guard",
        "a dead letter does not fail a task that somebody works on",
        (without.swapped("DEAD_LETTER", f"lease_until <= {NOW}", "1"),),
        {"retries_exhausted": 0.7, "d1_slow": 0.2},
        _some_tasks(TOP),
    ),
    Ablation(
        "dead_letter_consumer",
        "a task whose messages no consumer survives is failed, not tried for ever",
        ((composition, "bury", without.bury_nothing),),
        {},
        _some_tasks(TOP, changes=(Change(0.1, TOP),)),
        ((composition, "consume", without.consume_nothing),),
    ),
    Ablation(
        "sweep_gives_up",
        "a task whose workers die before they can fail it is failed by the sweep, not tried for ever",
        ((tasks.TaskStore, "give_up", without.give_up_nothing),),
        {},
        _some_tasks(TOP, queue_fate="retries_exhausted"),
    ),
    Ablation(
        "alarm_rearm",
        "an object that gives its task back comes back for it",
        ((ai_processor, "_delay_seconds", without.never_again),),
        {},
        _some_tasks(FREE, cron=False),
    ),
    Ablation(
        "continuation",
        "a consumer that gives its task back sends it on",
        ((consumer, "_consume", without.consume_without_continuation),),
        {},
        _some_tasks(TOP, cron=False),
    ),
    Ablation(
        "named_hosts_only",
        "only an object takes over from itself, no nameless host from another",
        (without.swapped("CLAIM", "(host = :host AND :host <> '')", "host = :host"),),
        {"duplicate_delivery": 0.5},
        _some_tasks(TOP, DIRECT),
    ),
    Ablation(
        "stalls_bound",
        "a task that kills its worker each time is given up",
        ((rows, "claim", without.claim_without_bound),),
        {"crash_before": 0.25, "crash_after": 0.25},
        _some_tasks(FREE, DIRECT),
    ),
    Ablation(
        "cancel_stops_calls",
        "no call is announced for a cancelled task",
        (without.swapped("PROGRESS", "status = 'processing'", "status IN ('processing', 'cancelled')"),),
        {},
        _cancelling,
    ),
    Ablation(
        "retry_raises_fence",
        "a worker from before a retry is refused",
        (without.swapped("RETRY", "fence = fence + 1,", ""),),
        {"user_raced": 0.5},
    ),
    Ablation(
        "erase_everything",
        "an erased task leaves nothing behind",
        ((ending, "ERASE", (ending.ERASE[0], *ending.ERASE[2:])),),
        {},
        _erasing,
    ),
    Ablation(
        "object_forgets",
        "an object that is done stores nothing",
        ((ai_processor.Processor, "_forget", without.remember),),
        {},
        _some_tasks(FREE),
    ),
    Ablation(
        "deadline_in_progress",
        "no call is announced after the deadline",
        (without.swapped("PROGRESS", without.AND_IN_TIME, ""),),
        {"d1_slow": 0.2},
        _hurried,
    ),
    Ablation(
        "deadline_in_finish",
        "no task completes after its deadline",
        (without.swapped("FINISH", without.AND_IN_TIME, ""),),
        {"d1_slow": 0.2},
        _hurried,
    ),
    Ablation(
        "deadline_of_worker",
        "a worker starts nothing once the deadline may have come",
        ((terms.Terms, "starts_by", without.starts_by_announcement),),
        {"d1_slow": 0.2, "worker_frozen": 0.05},
        _hurried,
        SHORT_FREEZES,
    ),
    Ablation(
        "expiry_by_sweep",
        "a task that nobody works on fails soon after its deadline",
        ((tasks.TaskStore, "expire", without.expire_nothing),),
        {"message_lost": 0.5},
        _hurried,
    ),
    Ablation(
        "start_window",
        "calls start soon after their announcement or not at all",
        ((crew.Crew, "call", without.call_whenever),),
        {"worker_frozen": 0.1},
        _cancelling_late(*DEPLOYMENTS, chunks=6),
    ),
    Ablation(
        "start_window_of_lanes",
        "a lane asks whether the calls that it was sent may still start",
        ((tasks.TaskStore, "may_start", without.start_whenever),),
        {"worker_frozen": 0.1},
        _cancelling_late(FREE, chunks=LONG_CHUNKS, concurrency=3),  # with 1 there are no lanes
    ),
    Ablation(
        "held_cancellation",
        "a cancellation is answered when no call can start any more",
        ((tasks.TaskStore, "cancel", without.cancel_at_once),),
        {"worker_frozen": 0.2},
        _cancelling_late(*DEPLOYMENTS, chunks=6),
        SHORT_FREEZES,
    ),
    Ablation(
        "held_erasure",
        "an erasure is answered when no call can start any more",
        ((tasks.TaskStore, "erase", without.erase_at_once),),
        {"worker_frozen": 0.2},
        _erasing,
        SHORT_FREEZES,
    ),
    Ablation(
        "budget_of_worker",
        "a worker announces no call beyond the budget",
        ((terms.Terms, "calls_left", without.calls_without_end),),
        {},
        _thrifty,
    ),
    Ablation(
        "budget_in_claim",
        "the first claim announces no call beyond the budget",
        (without.swapped("CLAIM", "min(total, coalesce(max_calls, total))", "total"),),
        {},
        _thrifty,
    ),
    Ablation(
        "key_taken_once",
        "an idempotency key that is taken stays with its task",
        (without.swapped("TAKE_KEY", f"expires_at <= {NOW} AND", ""),),
        {},
        _twins,
    ),
    Ablation(
        "key_before_task",
        "a task is only written for the request that has the key",
        (
            without.swapped(
                "INSERT_TASK", "EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key)", "1"
            ),
        ),
        {},
        _twins,
    ),
    Ablation(
        "replay_noted",
        "a task that a second request was answered with is not taken back",
        (without.swapped("NOTE_REPLAY", "AND replayed = 0", "AND replayed = 2"),),
        {"d1_failed_after_commit": 0.6},
        _twins,
        NO_LOOKS,
    ),
    Ablation(
        "withdrawal",
        "a task whose client is told that nothing was accepted is taken back",
        ((tasks.TaskStore, "withdraw", without.withdraw_nothing),),
        {"d1_failed_after_commit": 0.5},
        _some_tasks(*DEPLOYMENTS),
        NO_LOOKS,
    ),
    Ablation(
        "limit_of_tasks",
        "a tenant has no more tasks in flight than its limit",
        (without.swapped("INSERT_TASK", "< :tasks_most", "< 1000 + :tasks_most"),),
        {},
        _some_tasks(*DEPLOYMENTS, variables={"MAX_TASKS_IN_FLIGHT": "1"}),
    ),
    Ablation(
        "limit_of_characters",
        "a tenant has no more characters accepted in a day than its limit",
        (without.swapped("INSERT_TASK", ":characters_most >=", "1000 + :characters_most >="),),
        {},
        _some_tasks(*DEPLOYMENTS, variables={"MAX_CHARACTERS_PER_DAY": "60"}),
    ),
    Ablation(
        "requests_by_tenant",
        "a tenant's requests use up its own allowance only",
        ((rate_limit, "check", without.check_all_as_one),),
        {},
        _metered,
    ),
    Ablation(
        "requests_before_effect",
        "a request beyond the limit of requests is refused before anything is done for it",
        ((router, "_answer", without.answer_and_check),),
        {},
        _metered,
    ),
    Ablation(
        "failed_limiter_refuses_nothing",
        "a limiter of requests that fails lets requests through",
        ((rate_limit, "check", without.check_or_refuse),),
        {"rate_limiter_failed": 0.3},
        _metered,
    ),
    Ablation(
        "patience_with_limiter",
        "a limiter of requests that does not answer holds no request up",
        ((limits, "RATE_LIMITER_SECONDS", 1e6),),
        {"rate_limiter_hung": 0.3},
        _metered,
    ),
)
BY_NAME = {ablation.name: ablation for ablation in ABLATIONS}
