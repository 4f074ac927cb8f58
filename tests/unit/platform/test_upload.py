"""What the Worker's modules do at import, which the platform runs once before it takes a snapshot."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import import_watch

pytestmark = pytest.mark.slow  # processes

ROOT = Path(__file__).resolve().parents[3]
SRC = ROOT / "src"
MODULES = sorted(str(path.relative_to(SRC)) for path in SRC.rglob("*.py"))
# The import needs the base classes of the Worker's exports, because it makes the subclasses.
BASES = {"workers.WorkerEntrypoint", "workers.DurableObject"}
OF_THE_RUNTIME = {"js", "pyodide", "pyodide_js", "workers", "_pyodide"}
# Calls that are forbidden at import, when a clock stands still or shows the time of the upload, and randomness is
# refused.
REFUSED = {
    *("time", "random", "secrets", "uuid", "threading", "socket", "subprocess", "tempfile"),
    *("os.urandom", "os.getrandom", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
    *("asyncio", "builtins.open"),
}


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Return the nodes that an import executes: not functions' bodies, nor code for type checkers."""
    yield node
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if name in {"annotation", "returns"}:
            continue
        if name == "body" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from run_at_import(child)


def imported(node: ast.AST) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {}


def of_the_runtime(text: str) -> set[str]:
    names = [name for node in run_at_import(ast.parse(text)) for name in imported(node).values()]
    return {name for name in names if name.split(".")[0] in OF_THE_RUNTIME}


def refused_calls(text: str) -> list[str]:
    nodes = list(run_at_import(ast.parse(text)))
    names = {"open": "builtins.open"}
    for node in nodes:
        names |= imported(node)
    found = []
    for node in nodes:
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            parts = f"{names.get(first, first)}{'.' if rest else ''}{rest}".split(".")
            if any(".".join(parts[: size + 1]) in REFUSED for size in range(len(parts))):
                found.append(ast.unparse(node))
    return found


def test_only_base_classes_come_from_the_runtime_at_import():
    found = {name: of_the_runtime((SRC / name).read_text()) for name in MODULES}
    assert {name: wanted for name, wanted in found.items() if not wanted <= BASES} == {}
    assert set().union(*found.values()) == BASES


def test_no_module_asks_for_time_or_randomness_at_import():
    """No time, randomness, thread, file or asyncio, which would belong to that moment's loop."""
    assert {name: calls for name in MODULES if (calls := refused_calls((SRC / name).read_text()))} == {}


@cache
def watched() -> dict[str, Any]:
    """Return what a new CPython sees while it imports `entry` with an SDK that has only the two base classes."""
    command = [sys.executable, "-I", "-B", import_watch.__file__, str(SRC)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def by_us(seen: list[list[str]]) -> list[list[str]]:
    return [item for item in seen if item[1] == "entry" or item[1].startswith("src.")]


# Modules that `entry` does not import, since the first request that needs one imports it.
LATER = (
    "features/",
    *("kernel/api/access/keys", "kernel/api/openapi", "kernel/api/tasks/across", "kernel/api/tasks/dry_run"),
    *("kernel/api/tasks/joined_value", "kernel/api/tasks/retries"),
    *("kernel/calls/whole_answers", "kernel/calls/workers_ai_whole"),
    *("kernel/store/tenants", "kernel/text/tokens", "kernel/work/sweep/resuming", "platform/byte_streams"),
)


def test_entry_imports_without_javascript_time_or_randomness():
    report = watched()
    names = {f"src.{one.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}": one for one in MODULES}
    missing = {path for name, path in names.items() if name not in report["modules"]}
    assert {path for path in missing if not path.startswith(LATER)} == {"entry.py"}
    assert by_us(report["clock"]) == []
    assert [module for _, module in report["entropy"] if module != "random"] == []
