"""The order in which `make test` hands out test modules."""

from collections import Counter

import pytest

from tests.support import order
from tests.support.order import ROOT, TOGETHER, ByModule, in_turns

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


def test_a_process_takes_the_tests_of_the_browser_together(pytestconfig: pytest.Config):
    def scope(nodeid: str) -> str:
        return ByModule._split_scope(ByModule.__new__(ByModule), nodeid)

    assert pytestconfig.pluginmanager.hasplugin("xdist")
    assert scope("tests/browser/test_page_batches.py::test_it[a]") == f"{TOGETHER}/1"
    assert scope("tests/browser/test_page_walks.py::test_it[a/b]") == f"{TOGETHER}/2"
    assert scope("tests/unit/test_a.py::TestIt::test_one") == "tests/unit/test_a.py::TestIt"
    assert scope("tests/unit/test_a.py::test_one") == "tests/unit/test_a.py"
