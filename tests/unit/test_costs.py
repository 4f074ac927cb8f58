"""The model of what a day costs: its arithmetic, the figures that it starts from, and the page that it writes."""

import math

import pytest

from bench import costs, measured, storage
from bench.prose import LANGUAGES

TASKS = 40


def test_the_page_is_current():
    """docs/costs.md is what the model makes of the measured figures; else run `python -m bench.costs`."""
    assert costs.PAGE.read_text(encoding="utf-8") == costs.page()
    assert costs.main(["--check"]) == 0, "the Chinese page"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_figures_are_those_of_now(language: str):
    """What a completed task leaves, measured again with fewer tasks, is what the page counts with, within a tenth."""
    size, rows = storage.task_cost(LANGUAGES[language], 6, TASKS)
    assert size == pytest.approx(measured.BYTES[language], rel=0.1)
    assert rows <= min(day["rowsWritten"] for day in measured.TASK.values())


def test_a_database_holds_what_fits_into_it():
    """450 MB of tasks of 15,000 bytes are 30,000 tasks: 1,000 a day for 30 days."""
    assert costs.stored(450, 15_000, 30) == 1_000
    assert costs.stored(450, 15_000, 1) == 30_000


def test_neurons_follow_the_tokens():
    """A million tokens in and one out cost what the price list says."""
    assert costs.neurons((1_000_000, 0)) == 4_636
    assert costs.neurons((0, 1_000_000)) == 30_909


def test_what_ends_first_is_the_least():
    """On each plan the first to end is named, and nothing that it lists ends before."""
    lines = costs.paid_lines()
    ends = costs.first(lines)
    assert all(ends.tasks <= line.tasks for line in lines)
    assert not math.isinf(ends.tasks)
    assert f"What ends first:\n\n- {ends.what}, at" in costs.page()


def test_a_month_is_paid_for_beyond_what_is_included():
    """Nothing is asked for tasks that a month includes; for others a million rows written cost a dollar."""
    few = {what: cost for what, _, cost in costs.dollars(0)}
    many = {what: (amount, cost) for what, amount, cost in costs.dollars(costs.TASKS)}
    rows = costs.WORDS["rowsWritten"]
    assert few[rows] == 0
    amount, cost = many[rows]
    assert cost == pytest.approx((amount - 50_000_000) / 1_000_000)
