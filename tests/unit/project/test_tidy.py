"""The project's own rules that no linter checks: sizes, names, where SQL may be, and forbidden contents."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

MODULE_LINES_MOST = 600
# Modules that may have more lines, each with its limit and the reason.
LONGER_MODULES: dict[str, tuple[int, str]] = {}
ENTRY_LINES_MOST = 99
FUNCTION_LINES_MOST = 60

# Words that say nothing about a module's contents, and may not be in its name.
BANNED_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}

# The folders of tests/unit that have no folder of the same name in `src`. `project` tests what holds for
# all files, and what is served or shown beside the code; each other folder tests the folder of its name.
ROOMS_BESIDE = {"bench", "cli", "docs", "local", "ops", "project"}

# Modules with statements for an object's own SQLite, which are no statements for D1.
SQL_ELSEWHERE = {"src/objects/batch_coordinator.py"}
_SQL = re.compile(
    r"\s*(SELECT\s+\S|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+(RECURSIVE\s+)?\w+\s*(\(|AS)"
    r"|(CREATE|DROP|ALTER)\s+(TABLE|INDEX)\s)"
)
_VERB = re.compile("SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|DROP|ALTER")  # Each statement begins with one of them.

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_MACHINE_PATH = re.compile(r"(?<![\w.~/])/(?:work|root|home/\w+|Users/\w+)/")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def tracked(*suffixes: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if name.endswith(suffixes) and (ROOT / name).is_file()]


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def definitions(path: Path) -> tuple[tuple[str, int], ...]:
    """Return the names of a module's classes, functions and methods, and the lines of each function, 0 for a class."""
    found: list[tuple[str, int]] = []
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, (node.end_lineno or 0) - node.lineno + 1))
        elif isinstance(node, ast.ClassDef):
            found.append((node.name, 0))
        # Only blocks of statements have definitions. The expressions, which are most of a tree, are left out.
        waiting += (inner for block in _BLOCKS for inner in getattr(node, block, ()))
    return tuple(found)


def test_unit_tests_mirror_the_source():
    rooms = {path.parent.relative_to(ROOT / "src").as_posix() for path in modules("src")} - {"."}
    assert not rooms & ROOMS_BESIDE
    files = [path.relative_to(ROOT / "tests" / "unit") for path in modules("tests/unit")]
    assert not [file.as_posix() for file in files if len(file.parts) == 1], "a module that stands in no room"
    found = {file.parent.as_posix() for file in files}
    assert found - rooms == ROOMS_BESIDE, "a room that is neither one of src nor listed, or is listed in vain"


def words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def test_no_module_holds_more_than_one_thing():
    files = [
        *modules("src", "cli", "simulator", "mutation"),
        *(path for path in tracked("") if named(path).startswith("local/")),
    ]
    sizes = {named(path): len(path.read_text().splitlines()) for path in files}
    longer = {name: size for name, size in sizes.items() if size > MODULE_LINES_MOST}
    assert not {name: size for name, size in longer.items() if size > LONGER_MODULES.get(name, (0, ""))[0]}
    assert LONGER_MODULES.keys() == longer.keys(), "an exception that is needed no more"
    assert sizes["src/entry.py"] <= ENTRY_LINES_MOST


def test_no_function_is_long():
    long = {
        f"{named(path)}:{name}": size
        for path in modules("src", "cli", "simulator", "mutation", "local")
        for name, size in definitions(path)
        if size > FUNCTION_LINES_MOST
    }
    assert not long


def test_names_say_what_they_name():
    found = [
        f"{named(path)}: {name}"
        for path in modules("src", "cli", "simulator", "mutation", "local", "bench", "tests")
        for name in (path.stem, *(name for name, _ in definitions(path)))
        if BANNED_WORDS & set(words(name))
    ]
    assert not found


@pytest.mark.parametrize("folder", ["src", "cli", "simulator", "mutation", "local", "bench", "tests"])
def test_no_two_modules_differ_by_an_s(folder: str):
    names = {(path.parent, path.stem) for path in modules(folder)}
    assert not [named(parent / stem) for parent, stem in names if (parent, f"{stem}s") in names]


def strings(path: Path) -> Iterator[str]:
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, bodies) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_sql_stands_beside_its_subject():
    """In src/kernel/store and in features; the coordinator's own SQLite is the exception."""
    found = {
        named(path)
        for path in modules("src", "cli", "local")
        if not named(path).startswith(("src/kernel/store/", "src/features/")) and _VERB.search(path.read_text())
        for text in strings(path)
        if _SQL.match(text)
    }
    assert found <= SQL_ELSEWHERE, found - SQL_ELSEWHERE
    assert found == SQL_ELSEWHERE, "an exception that is needed no more"


def test_no_file_knows_a_machine():
    texts = {
        named(path): path.read_text()
        for path in tracked(
            ".py", ".md", ".mjs", ".js", ".sh", ".sql", ".toml", ".json", ".yml", ".yaml", ".txt", ".in"
        )
    }
    paths = {name for name, text in texts.items() if _MACHINE_PATH.search(text)}
    assert paths <= {named(Path(__file__))}
    locks = {name for name in texts if name.startswith("requirements/") or "lock" in name}
    assert locks
    assert not {name for name in locks if re.search(r"https?://\S+\.(?:tgz|whl|tar\.gz|zip)|--index-url", texts[name])}
