"""Lists all mutants of the project, and orders them by a seed."""

import ast
import hashlib
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

from mutation.defaults import defaults_of
from mutation.mutants import Mutant, named
from mutation.python_operators import Defaults, python_edits
from mutation.source import Edit, Source
from mutation.sql_operators import sql_edits
from mutation.sql_text import sql_strings

# The folders that get mistakes in their SQL, and those and files that get mistakes in their Python.
SQL = ("src/kernel/store", "src/kernel/run", "src/kernel/work", "src/features", "src/objects", "src/queue")
PYTHON = (
    *("src/kernel/run", "src/kernel/work", "src/features/batches/work", "src/features/bulk/bulk.py"),
    *("src/features/texts/file_text.py", "src/features/webhooks/deliverer.py", "src/objects", "src/queue"),
)
# These files get no mistakes: the log changes no behaviour, and the compiler of statements has patterns instead of
# statements.
LEFT_OUT = ("src/kernel/run/log.py", "src/kernel/store/d1.py")


def statement_files(root: Path) -> list[str]:
    """List the modules that make statements for D1. Their strings are SQL or pieces of SQL, except those in classes."""
    paths = sorted((root / "src").rglob("*.py"))
    names = [path.relative_to(root).as_posix() for path in paths if "statement(" in path.read_text("utf-8")]
    return [name for name in names if name not in LEFT_OUT]


def all_mutants(root: Path) -> list[Mutant]:
    """Find every mutant of the project, in the order of files and of places in a file."""
    defaults = defaults_of(ast.parse(path.read_text("utf-8")) for path in sorted((root / "src").rglob("*.py")))
    paths = sorted({path for folder in SQL for path in (root / folder).rglob("*.py")})
    names = [path.relative_to(root).as_posix() for path in paths]
    with_statements = set(statement_files(root))
    return list(
        chain.from_iterable(
            _of_file(root, name, defaults, has_statements=name in with_statements)
            for name in names
            if name not in LEFT_OUT
        )
    )


def _of_file(root: Path, name: str, defaults: Defaults, *, has_statements: bool) -> Iterator[Mutant]:
    source = Source((root / name).read_text("utf-8"))
    edits: list[Edit] = []
    for whole in sql_strings(source, all_of_them=has_statements):
        edits += sql_edits(source.text, whole)
    if name.startswith(PYTHON):
        edits += python_edits(source, defaults)
    return named(name, source, edits)


def drawn(mutants: list[Mutant], seed: int, only: list[str] | None = None) -> list[Mutant]:
    """Return the mutants in the order that a seed draws, restricted to the files that match `only`.

    `only` has file names or patterns of file names. The order of two mutants depends only on the seed and on these two
    mutants, so other changes of the project do not affect it.
    """
    wanted = [mutant for mutant in mutants if only is None or any(fnmatch(mutant.path, one) for one in only)]
    return sorted(wanted, key=lambda mutant: hashlib.sha256(f"{seed}/{mutant.id}".encode()).digest())
