"""The HTTP layer is a house of few floors: nobody climbs through ten modules to see what an answer is."""

import ast
from functools import cache
from pathlib import Path

HTTP = Path(__file__).resolve().parents[2] / "src" / "http"
FLOORS_MOST = 8


def imported(module: str) -> set[str]:
    """The modules of the layer that a module imports: `from .name import …`, and `from . import name`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((HTTP / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


@cache
def chain(module: str) -> tuple[str, ...]:
    """The longest way down from a module, itself included, each importing the next."""
    below = max(map(chain, sorted(imported(module))), key=len, default=())
    return (module, *below)


def test_no_module_is_more_than_eight_floors_above_the_ground():
    """The longest chain of imports within the layer has at most eight modules."""
    longest = max((chain(path.stem) for path in HTTP.glob("*.py")), key=len)
    assert len(longest) <= FLOORS_MOST, " → ".join(longest)


def test_the_ground_floor_knows_nothing_of_the_project():
    """What a request and an answer are is said without any other module of the project."""
    tree = ast.parse((HTTP / "messages.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
