"""Property tests in which hypothesis draws the acts of clients and operators, and seeds draw schedules and faults."""

from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.campaign.ablations import BY_NAME
from simulator.campaign.clients.workload import ACTIONS, DEPLOYMENTS, LONG_CHUNKS, Change, TaskSpec, Workload
from simulator.campaign.runs.fault_rates import PROFILES
from simulator.campaign.runs.run import Result, run_plan, run_seed
from simulator.campaign.runs.scenario import Scenario
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.rate_limits import RateLimit
from simulator.platform.world import World
from tests.support.tiers import sized

SECONDS = st.floats(0, 30, allow_nan=False, width=16)
TASKS = st.builds(
    TaskSpec,
    at=SECONDS,
    chunks=st.sampled_from((1, 2, 3, 5, LONG_CHUNKS)),
    reduce=st.sampled_from(("concat", "merge", "none")),
    overlap=st.sampled_from((0, 3)),
    refused=st.sampled_from((False, False, False, True)),
    actions=st.lists(st.tuples(SECONDS, st.sampled_from(ACTIONS)), max_size=4).map(lambda found: tuple(sorted(found))),
)
CHANGES = st.builds(
    Change,
    at=SECONDS,
    deployment=st.sampled_from(DEPLOYMENTS),
    restart=st.booleans(),
    lose_queue=st.booleans(),
    kill=st.booleans(),
    concurrency=st.sampled_from((1, 3, 6)),
)
WORKLOADS = st.builds(
    Workload,
    tasks=st.lists(TASKS, min_size=1, max_size=4).map(tuple),
    changes=st.lists(CHANGES, max_size=3).map(tuple),
    first=st.sampled_from(DEPLOYMENTS),
    last=st.sampled_from(DEPLOYMENTS),
    plan=st.sampled_from(("free", "paid")),
    queue_mode=st.sampled_from(("production", "local")),
    batch=st.sampled_from((1, 3)),
    consumers=st.sampled_from((1, 4)),
    short_slices=st.booleans(),
    small_parts=st.booleans(),
    small_windows=st.booleans(),
    strict_gates=st.booleans(),
    older_isolates=st.sampled_from((0.0, 0.0, 0.5, 1.0)),
    rate_limit=st.none() | st.builds(RateLimit, st.sampled_from((1, 3)), lag_seconds=st.sampled_from((0, 1))),
)
MANY = settings(
    max_examples=sized(quick=60, test=60, campaign=1_500),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@MANY
@given(workload=WORKLOADS, seed=st.integers(0, 2**32), profile=st.sampled_from(PROFILES))
def test_any_workload_keeps_the_promises(workload: Workload, seed: int, profile: str):
    assert run_seed(seed, profile=profile, workload=workload).failure is None


@settings(MANY, max_examples=sized(quick=30, test=30, campaign=600))
@given(workload=WORKLOADS, seed=st.integers(0, 2**32))
def test_duplicates_alone_cost_no_call(workload: Workload, seed: int):
    quiet = replace(workload, changes=(), last=workload.first)
    assert run_seed(seed, fault_rates={"duplicate_delivery": 1.0}, workload=quiet).failure is None


def test_the_search_finds_what_is_broken():
    ablation = BY_NAME["lease_in_claim"]
    specs = (TaskSpec(0, 3), TaskSpec(1, 2))
    found = [
        replace(ablation, workload=lambda _rng: Workload(tasks=specs), rates={"duplicate_delivery": 1.0}).run(seed)
        for seed in range(20)
    ]
    assert any(result.failure for result in found)


def test_a_schema_upgrade_under_running_tasks():
    class Upgrading(Scenario):
        async def run(self, world: World) -> None:
            def upgrade() -> None:
                world.database.connection.executescript(
                    "ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;"
                    "CREATE INDEX tasks_by_priority ON tasks (priority);"
                )

            world.loop.call_later(2.0, upgrade, context=world.loop.outside)
            await super().run(world)

    for seed in range(15):
        workload = Workload(tasks=(TaskSpec(0, 4), TaskSpec(1.5, 3, "merge"), TaskSpec(5, 2)))
        plan = FaultPlan(Random(seed), {"crash_before": 0.02, "crash_after": 0.02, "duplicate_delivery": 0.3})
        result = run_plan(Result(seed, "upgrade"), workload, plan, Random(seed), scenario_class=Upgrading)
        assert result.failure is None
        assert result.statuses["completed"] + result.statuses["failed"] == result.accepted
