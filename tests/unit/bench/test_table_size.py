"""The benchmark of the table's size, on tables that are small enough for a test."""

import pytest

from bench import table_size

FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def counted() -> tuple[dict[str, int], dict[str, int]]:
    """Return the steps of each act over few tasks and over many."""
    return table_size.steps(FEW), table_size.steps(MANY)


@pytest.mark.parametrize("act", table_size.ACTS)
def test_an_act_costs_the_same_whatever_is_stored(act: str, counted: tuple[dict[str, int], dict[str, int]]):
    """Acts over twenty times as many tasks cost no additional step. Each statement accepts the parameters used here."""
    few, many = counted
    assert 0 < many[act] <= few[act]
