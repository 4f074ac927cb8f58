"""The house: a kernel, and features that plug into it. What its rooms may import and how large they are."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SRC = ROOT / "src"
FILES_MOST = 286
MODULE_LINES_MOST = 600
# Modules that are larger, each with the reason.
LARGE: dict[str, str] = {}
# The most lines of each room.
BUDGETS = {
    "": {"composition": 300, "entry": 40, "features": 100, "kernel": 110}
    | {"objects": 1040, "platform": 1350, "queue": 190},
    "kernel/": {"api": 5060, "calls": 2220, "domain": 2420, "run": 3110, "store": 5350, "text": 500, "work": 1560},
    "features/": {"attempts": 500, "batches": 4210, "bulk": 560, "context": 360, "cost": 740, "demo": 750}
    | {"files": 2210, "gaps": 310, "mcp": 450, "openai": 1820, "operate": 1560, "quotes": 420, "structured": 2660}
    | {"texts": 810, "webhooks": 1610},
}
# Rooms that are larger than they should be, with that goal. Taking away reaches it, and not moving.
GOALS = {
    "kernel/": {"api": 4900, "domain": 2400, "run": 2900, "store": 5000},
    "features/": {"batches": 4200, "demo": 650, "files": 2200, "gaps": 300} | {"structured": 2500, "texts": 750},
}


def modules() -> dict[str, Path]:
    paths = (path.relative_to(ROOT) for path in SRC.rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                yield module if (module := f"{base}.{alias.name}") in known else base


def room(path: Path) -> str:
    parts = path.with_suffix("").parts[1:]
    return "/".join(parts[:2]) if parts[0] in {"kernel", "features"} and len(parts) > 2 else parts[0]


def test_the_kernel_imports_nothing_of_a_feature():
    known = modules()
    found = {
        f"{name} -> {imported}"
        for name, path in known.items()
        if name.startswith("src.kernel")
        for imported in imports(name, path, known)
        if imported.startswith("src.features")
    }
    assert found == set()


def test_the_house_has_few_files():
    known = modules()
    assert len(known) <= FILES_MOST
    sizes = {str(path): (ROOT / path).read_text("utf-8").count("\n") for path in known.values()}
    assert {path for path, lines in sizes.items() if lines > MODULE_LINES_MOST} == LARGE.keys()


def test_each_room_keeps_its_budget():
    """No room has more lines than its budget, which is its goal, or else what it had when the house was built."""
    lines = Counter[str]()
    for path in modules().values():
        lines[room(path)] += (ROOT / path).read_text("utf-8").count("\n")
    budgets = {f"{place}{name}": most for place, rooms in BUDGETS.items() for name, most in rooms.items()}
    assert {name: count for name, count in lines.items() if count > budgets[name]} == {}
    assert all(lines[f"{place}{name}"] > goal for place, rooms in GOALS.items() for name, goal in rooms.items())
