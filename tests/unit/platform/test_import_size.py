"""How much an isolate's start imports of the Worker, in exact counts: what else the machine does decides nothing.

What fails here is a budget, and no fault. Ask first who needs what was added. What few requests need is imported when
one of them comes: docs/decisions/0033-what-is-imported-when.md says how, and who must not wait for that. If every
isolate needs it, raise the bound to what is counted now, in the same commit, and say in its message what it is for.
`python -m bench imports` says what it costs in time.
"""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from src.http import catalogue
from tests.support import import_watch

pytestmark = pytest.mark.slow  # processes

SRC = Path(__file__).resolve().parents[3] / "src"
# At most so many: what there is, and little room.
# `syntax` is what is compiled, in nodes of the syntax tree: bytecode would differ from one Python to the next.
MOST: Mapping[str, int] = {
    "modules": 176,
    "syntax": 67_500,
    "dataclasses": 34,
    "named_tuples": 85,
    "models": 4,
}
# What is imported in a function, by the module that does it. None of it is on the way of a submission, a poll of a task
# or a list, with a key that may read; nor of a message, an alarm, a run of a task, or a sweep without webhooks. The
# table of the API has more: `catalogue` imports a group of calls upon the first request for one of them, and `events`
# and `observation` are such.
LATE = {
    "composition.py": {"inference.demo", "store.webhooks"},
    "http/events.py": {"http.following"},
    "http/exchange.py": {"http.content"},
    "http/observation.py": {"http.history", "http.metrics"},
    "http/tasks.py": {"http.across", "http.dry_run"},
    "inference/openai.py": {"inference.probing"},
    "processing/deliveries.py": {"core.webhook_urls"},
}


def late_imports(module: Path) -> Iterator[str]:
    """What of the Worker is imported by the functions of a module."""
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
    """How many nodes the compiler gets of a source: neither docstrings nor comments, and as many on every Python."""
    tree = ast.parse(text)
    nodes = sum(not isinstance(node, ast.expr_context) for node in ast.walk(tree))
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = sum(isinstance(node, bodies) and ast.get_docstring(node) is not None for node in ast.walk(tree))
    return nodes - 2 * docstrings  # a docstring is an expression and its constant


def counted(folder: Path) -> dict[str, int]:
    """What a new interpreter has of the Worker's once it has imported `entry` from there."""
    command = [sys.executable, "-I", "-B", import_watch.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    names = [name.removeprefix("src.").replace(".", "/") for name in report["modules"]]
    files = [file for name in names if (file := folder / f"{name}.py").exists()]
    return {"modules": len(files), "syntax": sum(syntax(file.read_text()) for file in files), **report["made"]}


def over(found: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """What is more than its bound, and the bound."""
    return {name: (found[name], most) for name, most in MOST.items() if found[name] > most}


def test_a_start_imports_no_more_than_every_isolate_needs():
    """Modules, code, and the classes that take long to make. See above for what to do."""
    assert over(counted(SRC)) == {}


def test_words_are_free():
    """A docstring or a comment counts for nothing, and each statement does."""
    bare = "def double(x: int) -> int:\n    return 2 * x\n"
    told = '"""A module."""\n\ndef double(x: int) -> int:\n    """Double it."""\n    # As one does.\n    return 2 * x\n'
    assert syntax(told) == syntax(bare) < syntax(f"{bare}x = 1\n")


def test_an_import_of_v1_at_the_start_is_noticed(tmp_path: Path):
    """Modules and code go over their bounds, and so do the models of its requests."""
    shutil.copytree(SRC, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    entry = tmp_path / "src" / "entry.py"
    entry.write_text(entry.read_text() + "\nimport src.http.responses.endpoints\n")
    assert {"modules", "syntax", "models"} <= over(counted(entry.parent)).keys()


def test_what_is_imported_late_is_seldom_needed():
    """An import within a function is paid by the first request that gets there. Each of them is named."""
    found = {str(path.relative_to(SRC)): set(late_imports(path)) for path in SRC.rglob("*.py")}
    assert {name: late for name, late in found.items() if late and name != "http/catalogue.py"} == LATE


@pytest.mark.parametrize("group", catalogue.GROUPS, ids=lambda group: group.paths[0])
def test_a_group_has_the_calls_of_its_paths(group: catalogue.Group):
    """All of them and no others: a path that is forgotten in the table would be none of the API's."""
    assert {endpoint.path for endpoint in group.load()} == set(group.paths)


def test_a_path_is_in_one_group():
    """So a request imports one group, and `Allow` names every method of the path."""
    paths = [path for group in catalogue.GROUPS for path in group.paths]
    assert len(set(paths)) == len(paths)
