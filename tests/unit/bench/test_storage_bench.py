"""A completed task takes little space, and an act costs the same whatever is stored."""

import pytest

from bench import prose, storage, table_size

pytestmark = pytest.mark.slow  # megabytes

TASKS = 15


@pytest.mark.parametrize(("language", "most"), [("English", 20_000), ("Chinese", 40_000)])
def test_a_completed_task_is_small(language: str, most: int):
    """A task of 20 outputs of 1,000 characters takes at most 20 rows written, and 20 KB (40 KB in Chinese) of D1."""
    size, rows = storage.task_cost(prose.LANGUAGES[language], 6, TASKS)
    assert size <= most
    assert rows <= 20


def test_outputs_that_come_one_by_one_take_no_page_each():
    together, _ = storage.task_cost(prose.chinese, 6, TASKS)
    alone, _ = storage.task_cost(prose.chinese, 1, TASKS)
    assert alone <= 1.3 * together


FEW, MANY = 1_000, 20_000


@pytest.fixture(scope="module")
def counted() -> tuple[dict[str, int], dict[str, int]]:
    return table_size.steps(FEW), table_size.steps(MANY)


@pytest.mark.parametrize("act", table_size.ACTS)
def test_an_act_costs_the_same_whatever_is_stored(act: str, counted: tuple[dict[str, int], dict[str, int]]):
    few, many = counted
    assert 0 < many[act] <= few[act]
