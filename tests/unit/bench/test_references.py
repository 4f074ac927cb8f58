"""The comparison with the reference systems: how it counts runs, and when a goal is met."""

import dataclasses

import pytest

from bench.references import works
from bench.references.outcome import Outcome, Spread, verdict
from bench.references.systems import Sample
from bench.references.tables import goal_shown
from bench.references.works import QUEUE, SEED, WORKFLOWS, WORKS, Goal, Work
from src.kernel.text.chunks import cuts

SUBMIT, INSTANT, SHORT = (next(work for work in WORKS if work.key == key) for key in ("submit", "instant", "24"))


def sample(elapsed: float = 1.0, seen: float = 1.5, submits: tuple[float, ...] = (1.0,), calls: int = 24) -> Sample:
    counts = {"calls": calls, "distinct": calls, "chars": 0, "mostInFlight": 6}
    return Sample(list(submits), elapsed, seen, 0.048, counts, load=1.0)


def outcome(work: Work, **runs: list[list[Sample]]) -> Outcome:
    return Outcome(work, runs)


def test_a_goal_is_judged_by_ratios_within_a_run():
    found = verdict(SUBMIT, Goal(QUEUE, 2, SEED), [3.0, 30.0, 5.0], [2.0, 20.0, 2.0])
    assert (found.ratio, found.runs_met, found.met) == (Spread(1.5, 1.5, 2.5), 2, True)
    assert not verdict(SUBMIT, Goal(QUEUE, 1.4, SEED), [3.0, 30.0, 5.0], [2.0, 20.0, 2.0]).met


def test_a_goal_of_its_own_unit_is_judged_by_the_median_of_runs():
    found = verdict(SHORT, Goal(QUEUE, 0.86), [0.85, 0.86, 0.87], None)
    assert (found.ratio, found.runs_met, found.met) == (Spread(0.86, 0.85, 0.87), 2, True)


def test_more_is_better_for_a_throughput():
    """A throughput's goal is a least value, and a time's goal is a greatest value."""
    goal = Goal(QUEUE, 1, WORKFLOWS)
    assert verdict(INSTANT, goal, [400], [300]).met
    assert not verdict(INSTANT, goal, [200], [300]).met
    assert goal_shown(INSTANT, verdict(INSTANT, goal, [1], [1])).endswith("queue ≥ 1 × workflows")
    assert goal_shown(SHORT, verdict(SHORT, Goal(QUEUE, 0.86), [1], None)) == "24 chunks × 200 ms: queue ≤ 0.86 s"


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
    right, fewer, more = (sample(calls=calls) for calls in (24, 23, 25))
    twice = dataclasses.replace(right, counts={**right.counts, "distinct": 23})
    made = outcome(SHORT, queue=[[right, fewer], [more, twice]], seed=[[right]])
    assert made.calls_differ(QUEUE) == [fewer.counts, more.counts, twice.counts]
    assert not made.calls_differ(SEED)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.key)
@pytest.mark.parametrize("chars", [40, 400])
def test_all_systems_cut_a_text_into_the_same_chunks(work: Work, chars: int):
    texts = works.texts(work, chars)
    pieces = [text[at : at + chars] for text in texts for at in range(0, len(text), chars)]
    assert len(texts) == work.tasks
    assert len(pieces) == len(set(pieces)) == work.tasks * work.chunks
    for text in texts[:3]:
        assert cuts(text, chars) == tuple(range(chars, len(text) + 1, chars))
