"""Small campaigns under all faults: seeds, crashes, ablations, replays. `python -m simulator`: larger."""

import functools
import inspect
import json
import sys
from collections import Counter
from random import Random
from types import CodeType, ModuleType

import pytest

from simulator.__main__ import main
from simulator.campaign import sections
from simulator.campaign.ablations import ABLATIONS, BY_NAME, substitutes
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.checks import (
    custody,
    end_checks,
    formed,
    gap_retries,
    letting_go,
    logged,
    patience,
    results,
    shown,
    undelayed,
)
from simulator.campaign.checks.batches import endings, files
from simulator.campaign.checks.disturbances import CRASHES, LATE_TO_HEAR, MODEL
from simulator.campaign.runs import batch_parts, pool
from simulator.campaign.runs.exhaustive import FLOWS, Flow, all_singles
from simulator.campaign.runs.fault_rates import AWAY, FULL, LATE, OVERLOAD, PROFILES, WEBHOOKS, rates
from simulator.campaign.runs.pool import run_block, run_seeds
from simulator.campaign.runs.regressions import REGRESSIONS, Regression
from simulator.campaign.runs.run import Result, run_seed
from simulator.campaign.runs.tally import CampaignTally
from simulator.engine.fault_kinds import HOSTED, KINDS, R2, RECEIVER
from simulator.engine.fault_plan import hosted_rates
from src.kernel.store import work_statements
from tests.support.tiers import sized

# The campaign runs all schedules, and `make test` the first two fifths. Each least count in this module is that of all
# schedules; `least` returns its share for the schedules that run.
ALL_SCHEDULES = 2_000
SCHEDULES = sized(quick=800, test=800, campaign=ALL_SCHEDULES)
PARTS = 8
TASKS_LEAST = 5_000
FIRED_LEAST = 50
ABLATION_SEEDS_MOST = 200
CONTROLS = 25
# The number of schedules that each check must have judged.
JUDGED_LEAST = {
    patience.CALLS_JUDGED: 30,
    end_checks.TASKS_JUDGED: 60,
    logged.LOGS_JUDGED: 800,
    logged.LOGS_JUDGED_EXACTLY: 500,
    letting_go.RUNS_JUDGED: 200,
    custody.RUNS_JUDGED: 1_500,
    custody.RUNS_JUDGED_FULL: 30,
    custody.BILLS_JUDGED: 1_500,
    custody.GROUPS.format(route="queue"): 30,
    custody.GROUPS.format(route="durable-object"): 40,
    "deliveries delivered": 100,
    undelayed.RUNS_JUDGED: 60,
    undelayed.STARTS_JUDGED: 5,
    undelayed.ENDS_JUDGED: 30,
    formed.OUTPUTS_JUDGED: 100,
    formed.MERGES_JUDGED: 12,
    formed.ASKS_JUDGED: 10,
    formed.GAPS_JUDGED: 15,
    formed.REJECTIONS_JUDGED: 30,
    results.ALONG_JUDGED: 60,
    gap_retries.RETRIES_JUDGED: 3,
    gap_retries.CALLS_JUDGED: 3,
    gap_retries.OLD_JUDGED: 3,
    shown.TASKS_JUDGED: 100,
    shown.VALUES_JUDGED: 20,
    shown.GAPS_JUDGED: 12,
    files.FILES_JUDGED: 120,
    files.ORPHANS_JUDGED: 12,
    endings.BATCHES_JUDGED: 80,
    endings.MOVES_JUDGED: 80,
    batch_parts.PAGES_JUDGED: 60,
}
# A crash must be tried in every handler that has suspension points.
HANDLERS = {"fetch", "queue", "scheduled", "alarm", "rpc.start", "rpc.infer", "rpc.abort", "rpc.close"}


def least(count: int) -> int:
    return max(1, count * SCHEDULES // ALL_SCHEDULES)


@functools.cache
def part(number: int) -> CampaignTally:
    """Run one of the parts of the schedules. The parts are separate because the time of a single test is limited."""
    return run_block(number * SCHEDULES // PARTS, SCHEDULES // PARTS, None)[0]


@pytest.fixture(scope="module")
def seeds() -> CampaignTally:
    tally = CampaignTally()
    for number in range(PARTS):
        tally.merge(part(number))
    return tally


class TestSchedules:
    """Checks of 800 schedules, 2,000 in the campaign. A class runs in a process of its own."""

    @pytest.mark.parametrize("number", range(PARTS))
    def test_no_schedule_breaks_an_invariant(self, number: int):
        assert part(number).failures == []

    def test_all_schedules_ran(self, seeds: CampaignTally):
        assert seeds.schedules == SCHEDULES
        assert seeds.accepted >= least(TASKS_LEAST)
        assert set(seeds.profiles) == set(PROFILES)

    def test_every_kind_of_fault_fired(self, seeds: CampaignTally):
        fired = seeds.fired_by_number()
        assert set(fired) == {*range(1, 35), *range(36, 40)}
        assert min(fired.values()) >= least(FIRED_LEAST)
        assert {name for name, count in seeds.fired.items() if count < least(FIRED_LEAST)} <= {*RECEIVER, *R2}
        assert {name for name in (*RECEIVER, *R2) if not seeds.fired[name]} <= {"receiver_gone"}

    def test_checks_that_excuse_much_have_judged(self, seeds: CampaignTally):
        judging = {name: (seeds.judging[name], least(count)) for name, count in JUDGED_LEAST.items()}
        assert {name: counts for name, counts in judging.items() if counts[0] < counts[1]} == {}
        assert seeds.idle(None) == ()
        assert seeds.judged[letting_go.RUNS_EXCUSED] > 0
        few = CampaignTally(schedules=200)
        few.judged[letting_go.RUNS_EXCUSED] = 200
        assert few.idle(None) == (letting_go.RUNS_JUDGED,)
        assert few.idle(LATE) == ()

    def test_responses_are_submitted_and_joined(self, seeds: CampaignTally):
        assert seeds.told["join"] >= least(30)
        assert seeds.told["doubled"] <= seeds.told["join"] / 10

    def test_the_schedules_reach_every_end(self, seeds: CampaignTally):
        assert all(seeds.statuses[name] > least(100) for name in ("completed", "failed", "cancelled", "erased"))
        assert seeds.in_doubt > least(1_000)

    def test_the_schedules_reach_the_limit_of_requests(self, seeds: CampaignTally):
        assert seeds.told["limited"] > least(300)

    def test_the_hosted_runtime_excuses_nothing(self, seeds: CampaignTally):
        assert not HOSTED & (CRASHES | MODEL | LATE_TO_HEAR)
        assert all(seeds.fired[name] >= least(FIRED_LEAST) for name in HOSTED)

    def test_the_figures_are_json(self, seeds: CampaignTally):
        facts = json.loads(json.dumps(seeds.facts()))
        assert facts["failureRateBound95"] == pytest.approx(3 / SCHEDULES)
        assert "at 95 %" in seeds.verdict()


# With lanes a flow has many points. `make test` tries one such flow of each route, and a retry on one of the two.
LONG_FLOWS = {"queue, lanes", "object, lanes, cancel, retry"}


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(flow, id=flow.name, marks=[pytest.mark.campaign] if flow.name in LONG_FLOWS else [])
        for flow in FLOWS
    ],
)
def test_a_crash_at_any_point_breaks_nothing(flow: Flow):
    counts = all_singles(flow)
    assert counts.total() == 2 * len(flow.run({}))


def test_crashes_were_tried_in_every_handler():
    labels = {label.partition(":")[0] for flow in FLOWS for label in flow.run({})}
    assert labels == HANDLERS


@pytest.mark.campaign
def test_pairs_of_crashes_break_nothing():
    assert sections.pairs_of_crashes(500).total() >= 500


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_substitute_takes_what_the_original_takes(ablation: Ablation):
    for owner, name, substitute in (*ablation.patches, *ablation.circumstances):
        original = getattr(owner, name)
        if inspect.isfunction(original) and inspect.isfunction(substitute):
            parameters = inspect.signature(original).parameters.values()
            named = {one.name: None for one in parameters if one.kind is one.KEYWORD_ONLY}
            others = [None for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
            inspect.signature(substitute).bind(*others, **named)


def _looked_up_in(module: ModuleType) -> set[str]:
    """Return the names that the functions and classes of a module look up when they run."""
    known, names = [compile(inspect.getsource(module), "", "exec")], set[str]()
    for code in known:
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        known += inner
        names |= {name for one in inner for name in one.co_names}
    return names


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_substitute_is_where_the_worker_looks(ablation: Ablation):
    """A module that imports a name itself does not see a patch of the module that the name comes from."""
    patched = {(id(owner), name) for owner, name, _ in ablation.patches}
    for owner, name, _ in ablation.patches:
        if not isinstance(owner, ModuleType) or name in _looked_up_in(owner):
            continue
        for module_name, module in list(sys.modules.items()):
            if module_name.startswith("src.") and module is not owner and (id(module), name) not in patched:
                assert vars(module).get(name) is not getattr(owner, name), f"{module_name} has its own {name}"


@pytest.mark.campaign
# An ablation may drop a coroutine on purpose, and Python warns when it collects the coroutine.
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_safeguard_that_is_missing_is_noticed(ablation: Ablation):
    caught = sections.catch(ablation, ABLATION_SEEDS_MOST)
    assert caught is not None
    for seed in {*range(CONTROLS), caught[0]}:
        assert ablation.run(seed, ablated=False).failure is None


def test_an_ablation_leaves_no_trace():
    before = {name: getattr(work_statements, name) for name in dir(work_statements)}
    BY_NAME["fence_in_outputs"].run(1)
    assert {name: getattr(work_statements, name) for name in dir(work_statements)} == before


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("CLAMI", "fence", "", "0 modules have a statement CLAMI"),
        ("CLAIM", "fense", "", "CLAIM has no 'fense' any more"),
        ("PROGRESS", substitutes.FENCED, "1", "PROGRESS would have the parameters"),
    ],
)
def test_an_ablation_of_what_is_not_there_fails(name: str, old: str, new: str, says: str):
    with pytest.raises(AssertionError, match=says):
        substitutes.swapped(name, old, new)


def test_failing_seeds_replay_exactly():
    assert sections.replays(5, 10) == {"failingSeeds": 5, "times": 10, "disagreements": 0}


@pytest.mark.campaign
def test_seeds_are_the_same_in_other_processes():
    here, _ = run_seeds(300, 60, workers=1)
    there, _ = run_seeds(300, 60, workers=2)
    assert here.facts() == there.facts()


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda regression: regression.name)
def test_bugs_that_were_found_stay_away(regression: Regression):
    for seed in {regression.seed, *range(10)}:
        assert regression.at(seed).failure is None, regression.what


def test_half_of_the_schedules_have_the_hosted_clock():
    drawn = [hosted_rates(Random(seed)) for seed in range(400)]
    standing = [one for one in drawn if one.get("clock_standing")]
    assert 160 <= len(standing) <= 240
    assert {one["stock_loop"] for one in standing} == {0.0, 1.0}
    assert 0.0 in {one["handle_overtaken"] for one in standing}
    assert {one["promises_alone"] for one in drawn} == {1.0}


@pytest.mark.parametrize("profile", [AWAY, FULL, WEBHOOKS])
def test_a_campaign_that_judges_nothing_fails(profile: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "run_seed", lambda seed, **_options: Result(seed, profile))
    assert main(["--faults", profile, "--seeds", "3", "--workers", "1"]) == 1
    assert main(["--faults", "calm", "--seeds", "3", "--workers", "1"]) == 0


def test_a_crowd_keeps_the_promises():
    result = run_seed(0, crowd=True)
    assert result.failure is None
    assert result.accepted >= 150


def test_batches_keep_the_promises():
    runs = [run_seed(seed, batches=True) for seed in range(15)]
    assert [run.failure for run in runs] == [None] * 15
    judged = sum((run.judged for run in runs), Counter[str]())
    assert judged[endings.BATCHES_JUDGED] >= 6
    assert judged[endings.MOVES_JUDGED] >= 40
    assert judged[batch_parts.PAGES_JUDGED] >= 30
    assert sum(run.fired[name] for run in runs for name in R2) >= 20


def test_context_is_what_stands_before_a_chunk():
    runs = [run_seed(seed, forms=True) for seed in range(30, 60)]
    assert [run.failure for run in runs] == [None] * 30
    judged = sum((run.judged for run in runs), Counter[str]())
    assert judged[results.ALONG_JUDGED] >= 40
    assert judged[formed.LENT_JUDGED] >= 3


@pytest.mark.parametrize(("profile", "name"), [(LATE, "d1_lands_later"), (OVERLOAD, "d1_shared")])
def test_a_campaign_of_its_own_has_ten_times_its_fault(profile: str, name: str):
    drawn = [rates(profile, Random(seed), Random(seed), Random(seed))[name] for seed in range(20)]
    assert drawn == [10 * KINDS[name].rate] * 20


def test_half_of_the_schedules_have_a_database_of_their_own():
    """At least half of the schedules have no shared database, because a shared database slows the whole run."""
    drawn = [rates("swarm", Random(seed), Random(seed), Random(f"{seed}"))["d1_shared"] for seed in range(400)]
    assert 200 <= drawn.count(0.0) <= 300
