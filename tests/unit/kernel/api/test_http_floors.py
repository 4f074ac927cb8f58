"""The modules of `src/kernel/api` import each other only in short chains, so that readers need to open few of them."""

import ast
from functools import cache
from pathlib import Path

import pytest

HTTP = Path(__file__).resolve().parents[4] / "src" / "kernel" / "api"
FLOORS_MOST = 7
FLOORS_OF_A_ROOM_MOST = 5
ROOMS = [path for path in HTTP.iterdir() if path.is_dir() and path.name != "__pycache__"]
MODULES = [path for path in HTTP.rglob("*.py") if path.stem != "__init__"]


def imported(path: Path) -> set[Path]:
    """Return the modules of `src/kernel/api` that a module imports, by `from .name import …` or `from .

    import name`.
    """
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            found |= {base.with_suffix(".py"), *((base / f"{alias.name}.py") for alias in node.names)}
    return found & set(MODULES)


@cache
def chain(path: Path) -> tuple[str, ...]:
    floor = path.parent.name if path.parent in ROOMS else path.stem
    below = [(floor, *(way[1:] if way[0] == floor else way)) for way in map(chain, sorted(imported(path)))]
    return max(below, key=len, default=(floor,))


@cache
def chain_in_room(path: Path) -> tuple[str, ...]:
    below = [one for one in sorted(imported(path)) if one.parent == path.parent]
    return (path.stem, *max(map(chain_in_room, below), key=len, default=()))


def test_no_module_is_more_than_seven_floors_above_the_ground():
    longest = max(map(chain, MODULES), key=len)
    assert len(longest) <= FLOORS_MOST, " → ".join(longest)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_few_floors(room: Path):
    """The longest chain of imports within a package of `src/kernel/api` has at most five modules."""
    longest = max((chain_in_room(path) for path in MODULES if path.parent == room), key=len)
    assert len(longest) <= FLOORS_OF_A_ROOM_MOST, " → ".join(longest)


def test_the_ground_floor_knows_nothing_of_the_project():
    """`src/kernel/api/base/messages.py`, which defines requests and answers, imports no other module of the project."""
    tree = ast.parse((HTTP / "base" / "messages.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
