"""What the Worker's modules do at import, before the snapshot, and how much of them a start imports.

If the test of imports fails, the code has exceeded a budget, which need not be a bug. Find out first which
requests need the added code. Code that few requests need is imported with the first request that needs it:
docs/decisions/python.md#d0033 says how, and which requests must not wait for an import. If every isolate
needs the added code, raise the bound to the present count in the same commit, and give the reason in its message.
`python -m bench imports` measures how much time the added code costs.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from src.features import FEATURES
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


def test_what_each_invocation_makes_is_imported_at_start():
    """Nearly every request makes the sweep's duties and the hooks, and a late import takes tens of ms of its CPU."""
    makers = [load() for feature in FEATURES for load in (feature.duty, feature.ends) if load is not None]
    assert {maker.__module__ for maker in makers} - {*watched()["modules"]} == set()


# The most that the start of an isolate may import: the present counts plus a little. `syntax` is the compiled code in
# nodes of the syntax tree, because bytecode differs between versions of Python.
MOST: Mapping[str, int] = {
    "modules": 170,
    "syntax": 103_500,
    "dataclasses": 36,
    "named_tuples": 114,
    "models": 22,
}
# The imports within functions, by the module that has them. A submission, a poll of a task or a list, with a key that
# may read, needs none of these imports; nor does a message, an alarm, a run of a task, or a sweep without webhooks.
# What the router and each `feature.py` import late is not listed: a group of calls is imported with the first request
# for one of them.
LATE = {
    "composition.py": {"features.demo.demo", "features.files.blobs.r2", "kernel.work.sweep.resuming"},
    "platform/r2.py": {"features.files.blobs.r2"},  # a sweep's look for orphans lists the bucket
    "platform/http_messages.py": {"platform.byte_streams"},  # the content of a file
    # texts in files need `file_plans`, `file_text` and `file_texts`
    "features/batches/kind_api.py": {
        "features.batches.store.batch_files",
        "features.batches.work.early_lines",
        "features.batches.work.retries",
        "features.batches.work.submission",
    },
    "features/texts/kind_api.py": {"features.texts.plans"},
    "kernel/api/tasks/endpoints.py": {"kernel.api.tasks.across", "kernel.api.tasks.dry_run"},
    "features/texts/submission.py": {"features.files.store"},
    "features/context/fields.py": {"features.context.preparing"},  # a task with context needs it
    # a task with a schema needs these imports for its submission, and for its result if that is large
    "features/structured/fields.py": {
        "features.structured.joining",
        "features.structured.schema.keywords",
        "features.structured.schema.schema",
    },
    "kernel/api/tasks/large_answers.py": {"kernel.api.tasks.joined_value"},
    # only the calls of a batch's lines need these imports
    "kernel/calls/asking.py": {"kernel.calls.whole_answers"},
    "features/demo/demo.py": {"features.demo.lines"},
    "kernel/calls/openai.py": {"kernel.calls.whole_answers"},
    "kernel/calls/workers_ai.py": {"kernel.calls.whole_answers", "kernel.calls.workers_ai_whole"},
    "features/batches/work/kind.py": {"features.batches.work.writer", "features.cost.gate"},
    "features/files/erasure.py": {"features.files.store"},
    "features/batches/work/finalizing.py": {"features.batches.work.writer"},
}


def late_imports(module: Path) -> Iterator[str]:
    package = module.relative_to(SRC).parent.parts
    for function in ast.walk(ast.parse(module.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.level > 0:
                    base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                    source = ".".join(part for part in base if part)
                    for name in (f"{source}.{alias.name}".lstrip(".") for alias in node.names):
                        yield name if (SRC / f"{name.replace('.', '/')}.py").exists() else source


def syntax(text: str) -> int:
    """Count the nodes of a syntax tree without docstrings, the same on every Python."""
    tree = ast.parse(text)
    nodes = sum(not isinstance(node, ast.expr_context) for node in ast.walk(tree))
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = sum(isinstance(node, bodies) and ast.get_docstring(node) is not None for node in ast.walk(tree))
    return nodes - 2 * docstrings  # a docstring is two nodes: an expression and its constant


def counted() -> dict[str, int]:
    report = watched()
    names = [name.removeprefix("src.").replace(".", "/") for name in report["modules"]]
    files = [file for name in names if (file := SRC / f"{name}.py").exists()]
    return {"modules": len(files), "syntax": sum(syntax(file.read_text()) for file in files), **report["made"]}


def test_a_start_imports_no_more_than_every_isolate_needs():
    """Modules, code and slow classes have bounds. The module's docstring says what to do."""
    found = counted()
    assert {name: (found[name], most) for name, most in MOST.items() if found[name] > most} == {}


def test_what_is_imported_late_is_seldom_needed():
    found = {str(path.relative_to(SRC)): set(late_imports(path)) for path in SRC.rglob("*.py")}
    listed = {
        name: late for name, late in found.items() if late and not name.endswith(("api/router.py", "/feature.py"))
    }
    assert listed == LATE
