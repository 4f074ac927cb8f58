"""The order in which `make test` hands the test modules to its processes.

Tests of the runtime wait more than they compute, and most others only compute. Modules of both kinds take turns, so
that the two cores always have work. The longest modules come first, so that no process works alone at the end.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
WAITING = ("api_fuzz", "browser", "conformance", "runtime")
# The modules of this folder share a server and a browser, so one process runs those before `SECOND_HALF`, and another
# process the rest. All in one process would take as long as the whole suite.
TOGETHER = "tests/browser"
SECOND_HALF = f"{TOGETHER}/test_page_f"
# These modules are longer than the sizes of their files suggest.
LONG = (
    "tests/browser",
    "tests/api_fuzz/test_fuzz.py",
    "tests/runtime/test_local_runtime.py",
    "tests/runtime/test_late_landing.py",
    "tests/runtime/test_letting_go.py",
    "tests/runtime/test_messages.py",
    "tests/runtime/test_keys.py",
    "tests/runtime/test_verify.py",
    "tests/runtime/test_long_inputs.py",
    "tests/runtime/test_chaos.py",
    "tests/runtime/test_batch_chaos.py",
    "tests/runtime/test_cap_kills.py",
    "tests/simulator/campaign",
    "tests/unit/project/test_kernel_alone.py",
)


def unit(path: str) -> str:
    """Return the name of what one process runs as a whole: a module, or a half of the folder `TOGETHER`."""
    if not path.startswith(f"{TOGETHER}/test_"):
        return path
    return f"{TOGETHER}/1" if path < SECOND_HALF else f"{TOGETHER}/2"


class ByModule(LoadScopeScheduling):
    """Gives a process whole modules or classes, and each half of the folder `TOGETHER` to one process."""

    def _split_scope(self, nodeid: str) -> str:
        name = unit(nodeid)
        return super()._split_scope(nodeid) if name == nodeid else name


def _haste(unit: str) -> tuple[int, int, str]:
    place = next((place for place, start in enumerate(LONG) if unit.startswith(start)), len(LONG))
    size = (ROOT / unit).stat().st_size if unit.endswith(".py") else 0
    return place, -size, unit


def in_turns(paths: Iterable[str]) -> list[str]:
    waiting: list[str] = []
    computing: list[str] = []
    for name in sorted({unit(path) for path in paths}, key=_haste):
        (waiting if name.split("/")[1] in WAITING else computing).append(name)
    # Each unit is put at its share of its own list, so both lists end together.
    placed = [(place / len(kind), name) for kind in (waiting, computing) for place, name in enumerate(kind)]
    return [name for _, name in sorted(placed, key=lambda pair: pair[0])]


def sort(items: list[pytest.Item]) -> None:
    """Put tests into the order of their units. The tests of a unit keep their own order."""
    paths = {item: item.path.relative_to(ROOT).as_posix() for item in items}
    places = {name: place for place, name in enumerate(in_turns(paths.values()))}
    items.sort(key=lambda item: places[unit(paths[item])])
