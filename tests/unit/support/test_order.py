"""The order in which `make test` hands out test modules."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support import order
from tests.support.order import LONG, ROOT, TOGETHER, WAITING, ByModule, in_turns

PATHS = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]


def test_each_unit_has_one_place():
    """Every module has a place, and the browser's modules have two in all, with about as many bytes of tests each."""
    units = in_turns(PATHS)
    assert len(units) == len(set(units))
    assert set(units) == {order.unit(path) for path in PATHS}
    assert [name for name in units if name.startswith(TOGETHER)] == [f"{TOGETHER}/1", f"{TOGETHER}/2"]
    sizes = Counter[str]()
    for path in PATHS:
        sizes[order.unit(path)] += (ROOT / path).stat().st_size
    assert 0.6 < sizes[f"{TOGETHER}/1"] / sizes[f"{TOGETHER}/2"] < 1.7


def test_both_kinds_of_tests_take_turns():
    """Each quarter of the order has a quarter of the modules that wait, and of those that compute."""
    waits = [name.split("/")[1] in WAITING for name in in_turns(PATHS)]
    quarter = len(waits) // 4
    for number in range(4):
        share = sum(waits[number * quarter : (number + 1) * quarter])
        assert share == pytest.approx(sum(waits) / 4, abs=2)


def test_what_is_long_begins_early():
    """The long units that are named exist, and stand before the other units of their kind."""
    units = in_turns(PATHS)
    for kind in (True, False):
        alike = [name for name in units if (name.split("/")[1] in WAITING) is kind]
        is_long = [name.startswith(LONG) for name in alike]
        assert is_long == sorted(is_long, reverse=True)
    assert all(Path(ROOT, start).exists() for start in LONG)


def test_a_process_takes_the_tests_of_the_browser_together(pytestconfig: pytest.Config):
    """The scheduler gives a class or a module to a process, and a half of the browser's tests to a process."""

    def scope(nodeid: str) -> str:
        return ByModule._split_scope(ByModule.__new__(ByModule), nodeid)

    assert pytestconfig.pluginmanager.hasplugin("xdist")
    assert scope("tests/browser/test_page_batches.py::test_it[a]") == f"{TOGETHER}/1"
    assert scope("tests/browser/test_page_walks.py::test_it[a/b]") == f"{TOGETHER}/2"
    assert scope("tests/unit/test_a.py::TestIt::test_one") == "tests/unit/test_a.py::TestIt"
    assert scope("tests/unit/test_a.py::test_one") == "tests/unit/test_a.py"
