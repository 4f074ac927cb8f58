"""How much of the Worker the start of an isolate imports, in counts that do not depend on the machine.

If this test fails, the code has exceeded a budget, which need not be a bug. If this test fails, find out first which
requests need the added code. Code that few requests need is imported with the first request that needs it:
docs/decisions/python.md#d0033 says how, and which requests must not wait for an import. If every isolate
needs the added code, raise the bound to the present count in the same commit, and give the reason in its message.
`python -m bench imports` measures how much time the added code costs.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import import_watch

pytestmark = pytest.mark.slow  # processes

SRC = Path(__file__).resolve().parents[3] / "src"
# The most that the start of an isolate may import: the present counts plus a little. `syntax` is the compiled code in
# nodes of the syntax tree, because bytecode differs between versions of Python.
MOST: Mapping[str, int] = {
    "modules": 178,
    "syntax": 104_500,
    "dataclasses": 36,
    "named_tuples": 116,
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


def counted(folder: Path) -> dict[str, int]:
    command = [sys.executable, "-I", "-B", import_watch.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = [name.removeprefix("src.").replace(".", "/") for name in report["modules"]]
    files = [file for name in names if (file := folder / f"{name}.py").exists()]
    return {"modules": len(files), "syntax": sum(syntax(file.read_text()) for file in files), **report["made"]}


def over(found: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (found[name], most) for name, most in MOST.items() if found[name] > most}


def test_a_start_imports_no_more_than_every_isolate_needs():
    """Modules, code and slow classes have bounds. The module's docstring says what to do."""
    assert over(counted(SRC)) == {}


def test_an_import_of_a_rare_call_at_the_start_is_noticed(tmp_path: Path):
    """If `entry` imported the calls of batches and webhooks, modules, code and models would exceed their bounds."""
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    entry = tmp_path / "src" / "entry.py"
    entry.write_text(entry.read_text() + "\nimport src.features.batches.api.handlers, src.features.webhooks.handlers\n")
    assert {"modules", "syntax", "models"} <= over(counted(entry.parent)).keys()


def test_what_is_imported_late_is_seldom_needed():
    found = {str(path.relative_to(SRC)): set(late_imports(path)) for path in SRC.rglob("*.py")}
    listed = {
        name: late for name, late in found.items() if late and not name.endswith(("api/router.py", "/feature.py"))
    }
    assert listed == LATE
