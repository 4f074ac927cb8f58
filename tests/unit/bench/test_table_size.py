"""The benchmark of statements on tables of different sizes, run on small tables."""

import pytest

from bench import table_size

FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def counted() -> tuple[dict[str, int], dict[str, int]]:
    return table_size.steps(FEW), table_size.steps(MANY)


@pytest.mark.parametrize("act", table_size.ACTS)
def test_an_act_costs_the_same_whatever_is_stored(act: str, counted: tuple[dict[str, int], dict[str, int]]):
    few, many = counted
    assert 0 < many[act] <= few[act]
