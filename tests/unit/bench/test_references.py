"""The comparison with the reference systems: how it counts runs, and when a goal is met."""

import contextlib
import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest
from rich.console import Console

from bench.references import measuring, tables, works
from bench.references.measuring import Options
from bench.references.outcome import Outcome, Spread, spread, verdict
from bench.references.progress import Remaining
from bench.references.systems import Sample
from bench.references.tables import goal_shown
from bench.references.works import QUEUE, SEED, WORKFLOWS, WORKS, Goal, Work
from src.core.text.chunks import cuts

SUBMIT, INSTANT, SHORT = (next(work for work in WORKS if work.key == key) for key in ("submit", "instant", "24"))


def sample(elapsed: float = 1.0, seen: float = 1.5, submits: tuple[float, ...] = (1.0,), calls: int = 24) -> Sample:
    counts = {"calls": calls, "distinct": calls, "chars": 0, "mostInFlight": 6}
    return Sample(list(submits), elapsed, seen, 0.048, counts, load=1.0)


def outcome(work: Work, **runs: list[list[Sample]]) -> Outcome:
    return Outcome(work, runs)


def test_a_spread_is_a_median_between_two_ends():
    """The median of an even number of values is the mean of the middle two."""
    assert spread([5, 1, 3]) == Spread(3, 1, 5)
    assert spread([4, 1, 2, 9]) == Spread(3, 1, 9)
    assert spread([2.5]) == Spread(2.5, 2.5, 2.5)


def test_a_goal_is_judged_by_ratios_within_a_run():
    """A goal against another system is judged by the two systems' ratio within each run."""
    found = verdict(SUBMIT, Goal(QUEUE, 2, SEED), [3.0, 30.0, 5.0], [2.0, 20.0, 2.0])
    assert (found.ratio, found.runs_met, found.met) == (Spread(1.5, 1.5, 2.5), 2, True)
    assert not verdict(SUBMIT, Goal(QUEUE, 1.4, SEED), [3.0, 30.0, 5.0], [2.0, 20.0, 2.0]).met


def test_a_goal_of_its_own_unit_is_judged_by_the_median_of_runs():
    """A goal in seconds compares the median of the runs with its bound, and is met at exactly the bound."""
    found = verdict(SHORT, Goal(QUEUE, 0.86), [0.85, 0.86, 0.87], None)
    assert (found.ratio, found.runs_met, found.met) == (Spread(0.86, 0.85, 0.87), 2, True)


def test_more_is_better_for_a_throughput():
    """A throughput's goal is a least value, and a time's goal is a greatest value."""
    goal = Goal(QUEUE, 1, WORKFLOWS)
    assert verdict(INSTANT, goal, [400], [300]).met
    assert not verdict(INSTANT, goal, [200], [300]).met
    assert goal_shown(INSTANT, verdict(INSTANT, goal, [1], [1])).endswith("queue ≥ 1 × workflows")
    assert goal_shown(SHORT, verdict(SHORT, Goal(QUEUE, 0.86), [1], None)) == "24 chunks × 200 ms: queue ≤ 0.86 s"


def test_runs_with_other_numbers_of_values_are_not_compared():
    """Two systems are compared only if both have a value for each run."""
    with pytest.raises(ValueError, match="zip"):
        verdict(SUBMIT, Goal(QUEUE, 2, SEED), [1.0], [1.0, 2.0])


def test_repeats_of_a_run_have_one_median():
    """Of each run only the median counts, as one value, however often a work is repeated within the run."""
    of_times = outcome(SHORT, queue=[[sample(1), sample(2), sample(9)], [sample(4)]])
    assert of_times.medians(QUEUE) == [2, 4]
    assert of_times.medians(QUEUE, seen=True) == [1.5, 1.5]
    of_submits = outcome(SUBMIT, seed=[[sample(submits=(1, 2, 3)), sample(submits=(9, 8))]])
    assert of_submits.medians(SEED) == [3]
    assert of_times.cpu_ms(QUEUE) == Spread(2, 2, 2)
    of_throughput = outcome(INSTANT, queue=[[sample(elapsed=2.0)]])
    assert of_throughput.medians(QUEUE) == [400]


def test_a_run_that_was_not_finished_is_forgotten():
    """After an interrupted measurement only those runs count that are complete, with all repeats, for each system."""
    work = dataclasses.replace(SHORT, systems=(SEED, QUEUE), repeats=2)
    whole, half = [sample(), sample()], [sample()]
    other = [sample(2), sample(2)]
    made = outcome(work, seed=[whole, whole, other, whole], queue=[half, [], other])
    made.keep_whole()
    assert made.samples == {SEED: [other], QUEUE: [other]}
    for samples in ({"seed": [half], "queue": [half]}, {"seed": [whole]}):
        made = outcome(work, **samples)
        made.keep_whole()
        assert not made.samples


def test_other_work_than_each_chunk_once_is_noticed():
    """The comparison notices an additional call, a missing call, and a chunk called twice instead of another."""
    right, fewer, more = (sample(calls=calls) for calls in (24, 23, 25))
    twice = dataclasses.replace(right, counts={**right.counts, "distinct": 23})
    made = outcome(SHORT, queue=[[right, fewer], [more, twice]], seed=[[right]])
    assert made.calls_differ(QUEUE) == [fewer.counts, more.counts, twice.counts]
    assert not made.calls_differ(SEED)


def test_a_goal_without_its_other_system_is_not_judged():
    """A goal is not judged if one of its systems was not measured, so parts can be measured alone."""
    made = outcome(SUBMIT, queue=[[sample()]])
    assert not made.verdicts()
    made.add(SEED, 0, sample())
    assert [each.goal for each in made.verdicts()] == [Goal(QUEUE, 2, SEED)]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.key)
@pytest.mark.parametrize("chars", [40, 400])
def test_all_systems_cut_a_text_into_the_same_chunks(work: Work, chars: int):
    """onceover and the references cut the benchmark's texts into the same chunks, which are all different."""
    texts = works.texts(work, chars)
    pieces = [text[at : at + chars] for text in texts for at in range(0, len(text), chars)]
    assert len(texts) == work.tasks
    assert len(pieces) == len(set(pieces)) == work.tasks * work.chunks
    for text in texts[:3]:
        assert cuts(text, chars) == tuple(range(chars, len(text) + 1, chars))


def test_every_goal_is_of_systems_that_are_measured():
    """A goal of a work names only systems that the work measures."""
    for work in WORKS:
        assert {name for goal in work.goals for name in (goal.system, goal.of or goal.system)} <= set(work.systems)


def test_parts_are_chosen_by_name():
    """The options choose works and systems by name, and the quick form of a work is small."""
    chosen = Options(works=["24", "free"], systems=[SEED, QUEUE], quick=True).chosen()
    assert [(work.key, work.systems) for work in chosen] == [("24", (SEED, QUEUE))]
    assert (chosen[0].chunks, chosen[0].delay_ms, chosen[0].repeats) == (7, 10, 1)
    assert Options().chosen() == list(WORKS)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), AssertionError("failed"), httpx.ReadTimeout("late")])
def test_trouble_leaves_the_runs_that_are_whole(
    trouble: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """After an error in the middle of the second run, the comparison reports the first run alone."""
    # The test's error comes after the warm-ups, the first run, and half of the second run of the measurement.
    taken = iter(range(4 + 2 + 1))

    def measured(*_: object) -> Sample:
        if next(taken, None) is None:
            raise trouble
        return sample()

    @contextlib.contextmanager
    def up(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(url="", lines=["the server's last word"], wait_until_quiet=lambda: None)

    monkeypatch.setattr(measuring, "measured", measured)
    for name in ("Model", "client_of", "server_of"):
        monkeypatch.setattr(measuring, name, up)
    (found,) = measuring.measure(Options(runs=2, works=["24"], systems=[SEED, QUEUE], quick=True))
    assert {system: len(runs) for system, runs in found.samples.items()} == {SEED: 1, QUEUE: 1}
    tables.show([found], Console(width=160))
    printed = capsys.readouterr().out
    if isinstance(trouble, KeyboardInterrupt):
        assert "Stopped: what was measured on all systems counts" in printed
    else:
        assert f"{trouble!r}\nthe server's last word" in printed
    assert "24 chunks × 200 ms: queue ≤ 0.85 s" in printed
    assert "OTHER WORK: 24 chunks × 200 ms, seed: the model saw {'calls': 24" in printed  # 7 were due


def test_the_time_left_follows_what_was_measured():
    """The estimate for a step without a measurement is scaled by how long other steps took against their estimates."""
    left = Remaining([("a", 10), ("b", 20), ("a", 10), ("b", 20)])
    assert (left.seconds, left.shown) == (60, "0 of 4, about 60 s left")
    left.finished(30)
    assert left.seconds == 60 + 30 + 60
    left.finished(100)
    assert (left.seconds, left.shown) == (130, "2 of 4, about 2 min left")
