"""Runs one seed: draws its workload, faults and schedule, plays the run, and returns its result."""

import tomllib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

from simulator.campaign.checks.disturbances import HARMLESS
from simulator.campaign.clients.batches.file_texts import filed
from simulator.campaign.clients.batches.specs import batched
from simulator.campaign.clients.forms import formed, is_formed
from simulator.campaign.clients.shares import (
    ALONE_SHARE,
    BESIDE_SHARE,
    CLOCKS_AGREE_SHARE,
    GREEDY_SHARE,
    RESUMED_SHARE,
    beside,
    crowded,
    greedy,
    hooked,
    kernels,
    metered,
    responded,
    some_hanging,
    some_hooked,
    undisturbed,
    with_context,
)
from simulator.campaign.clients.workload import (
    Workload,
    bearing,
    capped,
    draw,
    followed,
    is_filed,
    patient,
    placed,
    polled,
    priced,
    slow,
    with_terms,
)
from simulator.campaign.runs.fault_rates import (
    AWAY,
    DEAD,
    HANGING,
    LATE,
    WEBHOOKS,
    away_rate,
    brown_rates,
    cpu_rate,
    late_answer_rate,
    misformed_rates,
    r2_rates,
    rates,
    receiver_rates,
    standing_rate,
)
from simulator.campaign.runs.releases import Releases, mixed, older_isolates
from simulator.campaign.runs.scenario import Scenario
from simulator.campaign.runs.totals import Totals
from simulator.campaign.subject import featured
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.cpu_limit import cpu_limit
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.campaign.subject.small_limits import MERGE_CHARS, MERGE_CHARS_OF_FORMS, small_limits, variables
from simulator.engine.errors import SimulationError
from simulator.engine.fault_kinds import CPU_LIMIT, HOSTED, KINDS, LATE_ANSWER, MODEL_AWAY, STANDING, STREAM_CUT
from simulator.engine.fault_plan import FaultPlan, hosted_rates
from simulator.platform.choices import Scheduling
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World

_ROOT = Path(__file__).parents[3]
_FLAGS = tomllib.loads((_ROOT / "wrangler.toml").read_text())["compatibility_flags"]
# Whether a consumer is occupied while it sends webhooks, as Cloudflare's default has it.
CONSUMERS_WAIT = "queue_consumer_no_wait_for_wait_until" not in _FLAGS
RELEASES = Releases.of_migrations(_ROOT / "migrations")
TEMPLATE = RELEASES.template
_HOOKED_SOMETIMES = ("swarm", "everything", LATE)
_PROFILE_OF_TEN = ("calm", "harmless", "model", *("swarm",) * 6, "everything")
_SCHEDULINGS: tuple[Scheduling, ...] = ("random", "random", "priorities", "fifo")


@dataclass(slots=True)
class Result(Totals):
    """The result of one run. `failure` is None if the run broke no invariant."""

    seed: int
    profile: str
    failure: str | None = None
    digest: str = ""
    timeline: str = ""


def is_alone(profile: str, rng: Random) -> bool:
    """Draw whether a run's only disturbance is a model that goes away.

    In a run whose only disturbance is an absent model, the checks can judge how many calls the model gets while it is
    away.
    """
    return rng.random() < ALONE_SHARE.get(profile, 0.0)


def _with_clocks(rng: Random) -> dict[str, float]:
    """Return the rates that make the isolates' clocks agree in most runs with tasks from `/v1`.

    Clocks that differ may turn one request to `/v1` into two tasks.
    """
    return dict.fromkeys(("clock_skewed", "clock_jumped"), 0.0) if rng.random() < CLOCKS_AGREE_SHARE else {}


def _ordinary(
    seed: int, rng: Random, limiter_rng: Random, profile: str, *, terms: bool, crowd: bool, forms: bool
) -> Workload:
    """Draw the parts of a workload that do not depend on the fault rates, each from a random generator of its own."""
    drawn = draw(rng)
    if crowd:
        drawn = crowded(drawn, Random(f"{seed}/crowd"))
    drawn = with_terms(drawn, Random(f"{seed}/bounds"), always=terms)
    drawn = patient(drawn, Random(f"{seed}/patience"))
    drawn = metered(drawn, limiter_rng)
    drawn = placed(drawn, Random(f"{seed}/places"))
    drawn = slow(drawn, Random(f"{seed}/slow calls"))
    if profile == DEAD:
        drawn = polled(drawn, Random(f"{seed}/polled"))
    drawn = mixed(drawn, Random(f"{seed}/releases"))
    drawn = replace(drawn, small_windows=Random(f"{seed}/windows").random() < 0.3)
    drawn = replace(drawn, resumes=not drawn.keyed and Random(f"{seed}/resumed").random() < RESUMED_SHARE)
    drawn = followed(drawn, Random(f"{seed}/followed"))
    drawn = priced(formed(drawn, Random(f"{seed}/forms"), always=forms), Random(f"{seed}/prices"))
    drawn = with_context(drawn, Random(f"{seed}/context"), often=forms)
    return capped(drawn, Random(f"{seed}/caps"))


class _Streams(NamedTuple):
    """The random streams that draw the rates of faults, and other parts of a schedule too."""

    faults: Random
    limiter: Random
    away: Random
    hooks: Random
    responses: Random


def _rates(seed: int, profile: str, chosen: Workload, of: _Streams) -> dict[str, float]:
    """Draw how often each fault strikes. Faults that only some workloads can meet have no rate in the others."""
    return (
        rates(profile, of.faults, of.limiter, Random(f"{seed}/found by review"))
        | {MODEL_AWAY: away_rate(profile, of.away), STREAM_CUT: 0.0 if profile == "calm" else KINDS[STREAM_CUT].rate}
        | hosted_rates(Random(f"{seed}/hosted"))
        | brown_rates(profile, Random(f"{seed}/brown-outs"))
        | {LATE_ANSWER: late_answer_rate(profile, Random(f"{seed}/late answers"))}
        | {STANDING: standing_rate(profile, Random(f"{seed}/standing still"))}
        | (receiver_rates(of.hooks) if chosen.webhooks else {})
        | (misformed_rates(profile, Random(f"{seed}/misformed")) if is_formed(chosen) else {})
        | (r2_rates(profile, Random(f"{seed}/r2")) if chosen.batches or is_filed(chosen) else {})
        | {CPU_LIMIT: cpu_rate(profile, Random(f"{seed}/cpu limit")) if chosen.batches or is_filed(chosen) else 0.0}
        | (_with_clocks(of.responses) if any(spec.response for spec in chosen.tasks) else {})
    )


def run_seed(
    seed: int,
    *,
    profile: str | None = None,
    fault_rates: dict[str, float] | None = None,
    workload: Workload | None = None,
    terms: bool = False,
    crowd: bool = False,
    forms: bool = False,
    batches: bool = False,
    muted: frozenset[int] = frozenset(),
    keep_timeline: bool = False,
) -> Result:
    """Run one seed. The seed draws the profile, the fault rates and the workload that are not given.

    See `workload.with_terms` for `terms`, `shares.crowded` for `crowd`, `forms.formed`, and `specs.batched`.
    """
    rng = Random(f"{seed}/workload")
    any_profile = profile is None and fault_rates is None
    profile = profile or rng.choice(_PROFILE_OF_TEN)
    limiter_rng = Random(f"{seed}/rate limiter/workload")
    drawn = _ordinary(seed, rng, limiter_rng, profile, terms=terms, crowd=crowd, forms=forms)
    away_rng = Random(f"{seed}/model away")
    drawn = bearing(drawn, away_rng, always=profile == AWAY)
    hook_rng = Random(f"{seed}/webhooks")
    if profile == WEBHOOKS:
        drawn = hooked(drawn)
    elif profile in _HOOKED_SOMETIMES and fault_rates is None:
        drawn = some_hooked(drawn, Random(f"{seed}/endpoints in some"))
    if alone := fault_rates is None and is_alone(profile, Random(f"{seed}/model away alone")):
        drawn = undisturbed(drawn)
    neighbour_rng = Random(f"{seed}/neighbours")
    has_neighbour = any_profile and neighbour_rng.random() < BESIDE_SHARE
    drawn = beside(drawn, neighbour_rng) if has_neighbour else drawn
    response_rng = Random(f"{seed}/responses")
    if workload is None and fault_rates is None:
        drawn = responded(drawn, response_rng)
        drawn = drawn if has_neighbour or crowd else batched(drawn, Random(f"{seed}/batches"), always=batches)
        drawn = filed(drawn, Random(f"{seed}/texts in files"))
    greedy_rng = Random(f"{seed}/greedy tenants")
    others_drawn = not any_profile or has_neighbour or crowd or forms or batches or workload
    if is_greedy := not others_drawn and greedy_rng.random() < GREEDY_SHARE:
        drawn = greedy(drawn, greedy_rng)
    drawn = some_hanging(
        drawn, Random(f"{seed}/receivers that hang"), always=profile == HANGING, never=bool(others_drawn or is_greedy)
    )
    chosen = workload or (drawn if featured.NAMES else kernels(drawn))
    streams = _Streams(Random(f"{seed}/faults"), limiter_rng, away_rng, hook_rng, response_rng)
    plan = FaultPlan(
        streams.faults,
        _rates(seed, profile, chosen, streams) if fault_rates is None else fault_rates,
        muted=muted,
        keep_timeline=keep_timeline,
    )
    if alone or has_neighbour:
        plan.keep(HARMLESS, {} if has_neighbour else {MODEL_AWAY: 10 * KINDS[MODEL_AWAY].rate})
    if is_greedy or chosen.hanging:
        plan.keep(HOSTED, {"receiver_hung": 0.5} if is_greedy else {})
    result = Result(seed, profile if fault_rates is None else "targeted")
    return run_plan(result, chosen, plan, rng, scheduling=rng.choice(_SCHEDULINGS))


def run_plan(
    result: Result,
    workload: Workload,
    plan: FaultPlan,
    rng: Random,
    *,
    scheduling: Scheduling = "fifo",
    latency_seconds: float = 0.008,
    crashes: bool = False,
    scenario_class: type[Scenario] = Scenario,
) -> Result:
    """Run a workload under a fault plan, and fill in and return `result`."""
    with (
        small_limits(
            short_slices=workload.short_slices,
            small_parts=workload.small_parts,
            small_windows=workload.small_windows,
            batches=bool(workload.batches) or is_filed(workload),
            merge_chars=MERGE_CHARS_OF_FORMS if is_formed(workload) else MERGE_CHARS,
        ),
        patched(older_isolates(result.seed, workload.older_isolates, RELEASES.newest, until_calm=is_formed(workload))),
        patched(cpu_limit(plan, Random(f"{result.seed}/slices of the cpu limit").choice((1, 2, 3)))),
    ):
        world = World(
            result.seed,
            Onceover(),
            RELEASES.template,
            faults=plan,
            scheduling=scheduling,
            deployment=workload.first,
            variables=variables(plan=workload.plan, retention_days=workload.retention_days, keyed=workload.keyed)
            | workload.variables,
            queue_settings=QueueSettings(
                max_batch_size=workload.batch,
                mode=workload.queue_mode,
                max_concurrency=workload.consumers,
                waits_for_background=CONSUMERS_WAIT,
            ),
            strict_gates=workload.strict_gates,
            latency_seconds=latency_seconds,
            rate_limit=workload.rate_limit,
        )
        if workload.batches or is_filed(workload):
            from simulator.campaign.subject.small_batches import ISOLATE_MEMORY_BYTES

            world.isolate_memory_bytes = ISOLATE_MEMORY_BYTES
        scenario = scenario_class(world, workload, rng, crashes=crashes)
        try:
            world.run(scenario.run)
        except (InvariantBroken, SimulationError, AssertionError) as error:
            result.failure = f"{type(error).__name__}: {error}"
    return _filled(result, world, scenario)


def _filled(result: Result, world: World, scenario: Scenario) -> Result:
    invariants = scenario.invariants
    result.digest = world.trace_digest
    result.accepted = len(invariants.tags)
    result.statuses = Counter(row.status for row in invariants.rows.values())
    result.statuses["erased"] = len(invariants.gone)
    result.calls = sum(invariants.reached.values())
    result.in_doubt = sum(row.in_doubt for row in invariants.rows.values())
    result.virtual_seconds = world.loop.now()
    result.steps = world.loop.steps
    result.writes = invariants.writes
    result.reasons = Counter(row.error_code for row in invariants.rows.values() if row.error_code)
    result.told = invariants.promises.told
    result.fired = Counter({name: tally.fired for name, tally in world.faults.tallies.items() if tally.fired})
    hooks = scenario.webhooks
    result.judged = +(invariants.judged + (Counter() if hooks is None else hooks.judged))
    result.judging = Counter(result.judged.keys())
    result.timeline = world.faults.report()
    return result
