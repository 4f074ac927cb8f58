"""Tests the program that measures how many tasks a second one database carries."""

import pytest

from simulator.campaign.load.arrivals import ArrivalRate, carried, is_worse, play


@pytest.mark.parametrize("route", ["queue", "objects"])
def test_a_stream_of_tasks_leaves_the_database_idle(route: str):
    """With a task every three seconds, no task is refused, and each task costs as many D1 calls as the plan states."""
    figures = play(ArrivalRate(0.3, 0.01, route=route, seconds=30))
    assert figures.tasks > 3
    assert (figures.refused, figures.unfinished) == (0, 0)
    assert 0 < figures.busy < 0.2
    assert 8 <= figures.calls <= 30
    assert 0 < figures.submit < 0.5
    assert 4 <= figures.task < 8  # a task has 20 chunks whose calls take a second each, six at a time


def test_the_rate_is_found_at_which_a_task_takes_twice_as_long():
    alone, most = carried(ArrivalRate(0.2, 0.05, chunks=6, seconds=10), 0, steps=1)
    assert most.stream.rate > alone.stream.rate
    assert not is_worse(most, alone, 2.0)
    assert most.busy > 0.5
    assert is_worse(play(ArrivalRate(2 * most.stream.rate, 0.05, chunks=6, seconds=10)), alone, 2.0)
