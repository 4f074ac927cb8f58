"""Tries the store's statements with a mutant, to find whether SQLite accepts them and which statements differ."""

import importlib
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

from mutation.catalogue import statement_files
from mutation.mutants import Mutant
from mutation.sql_operators import keeping


class Text(NamedTuple):
    """A statement: its text in the module, its text for SQLite, and the names of its parameters."""

    written: str
    sql: str
    parameters: tuple[str, ...]


class Found(NamedTuple):
    """A mutant in a form in which it can be tried, with the texts of the statements that it changes."""

    mutant: Mutant
    changed: frozenset[str]


class Statements:
    """All statements of a project's store without mutants, and a database on which changed statements are tried."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._originals = load(root, {})
        self._database = sqlite3.connect(":memory:")
        for migration in sorted((root / "migrations").glob("*.sql")):
            self._database.executescript(migration.read_text("utf-8"))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def viable(self, mutant: Mutant) -> Found | None:
        """Return the mutant in a form in which it can be tried, or None if no code could run with the mutant.

        The store demands that exactly the parameters of a statement are set. If a mutant drops parameters, this
        function keeps them in an expression without effect: first it tries only the dropped parameters, then the whole
        replaced text. If neither expression is possible, any use of the statement would reveal the mutant.
        """
        text = (self._root / mutant.path).read_text("utf-8")
        found = self._tried(mutant, text)
        if isinstance(found, list) and mutant.expression:
            for kept in ([f":{name}" for name in found], [f"({mutant.before})"]):
                found = self._tried(mutant.with_replacement(keeping(mutant.replacement, kept)), text)
                if isinstance(found, Found):
                    break
        return found if isinstance(found, Found) else None

    def _tried(self, mutant: Mutant, text: str) -> Found | list[str] | None:
        """Return the result for a mutant, or the names of parameters that a statement lacks or has in excess."""
        try:
            loaded = load(self._root, {self._root / mutant.path: mutant.put_into(text)})
        except (SyntaxError, AssertionError, TypeError, NameError):
            return None
        changed = {name: old for name, old in self._originals.items() if loaded.get(name) != old}
        if not changed or loaded.keys() != self._originals.keys():
            return None
        differing = {name for key, old in changed.items() for name in set(old.parameters) ^ set(loaded[key].parameters)}
        if differing:
            return sorted(differing)
        if not all(self._is_accepted(loaded[name]) for name in changed):
            return None
        return Found(mutant, frozenset(old.written for old in changed.values()))

    def _is_accepted(self, text: Text) -> bool:
        try:
            self._database.execute(f"EXPLAIN {text.sql}", (None,) * len(text.parameters))
        except sqlite3.Error:
            return False
        return True


def load(root: Path, instead: Mapping[Path, str]) -> dict[str, Text]:
    """Import the modules of statements again, some with another text, and return their statements by name."""
    found: dict[str, Text] = {}
    with _apart(root, instead):
        for name in statement_files(root):
            module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
            found |= dict(_of_module(module))
    return found


def _of_module(module: ModuleType) -> Iterator[tuple[str, Text]]:
    for name, value in vars(module).items():
        for place, one in enumerate(value if isinstance(value, tuple) else [value]):
            if type(one).__name__ == "Statement":
                key = f"{module.__name__}.{name}[{place}]"
                yield key, Text(one.text, one.sql, one.parameters)


@contextmanager
def _apart(root: Path, instead: Mapping[Path, str]) -> Iterator[None]:
    """Let imports within the block use another root, and restore the interpreter's modules at its end."""
    before = {name: module for name, module in sys.modules.items() if name == "src" or name.startswith("src.")}
    finder = _Finder(root, instead)
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name == "src" or name.startswith("src.")]:
            del sys.modules[name]
        sys.modules.update(before)


class _Finder(MetaPathFinder):
    """An import finder for the modules of one project's `src`, independent of `sys.path`."""

    def __init__(self, root: Path, instead: Mapping[Path, str]) -> None:
        self._root = root
        self._instead = instead

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a module or a package of `src`. Return None for the name of any other module."""
        if name != "src" and not name.startswith("src."):
            return None
        place = self._root / name.replace(".", "/")
        if place.is_dir() and not (place / "__init__.py").exists():
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        loader = _Loader(name, str(file), self._instead.get(file))
        return spec_from_file_location(name, file, loader=loader)


class _Loader(SourceFileLoader):
    """Loads a module from its file or from a given text, but never from a compiled file."""

    def __init__(self, name: str, path: str, text: str | None) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        """Compile the module's text."""
        return _compiled(Path(self.path).read_text("utf-8") if self._text is None else self._text, self.path)


@lru_cache(maxsize=512)
def _compiled(text: str, path: str) -> CodeType:
    """Compile a module. A mutant changes one module, and the others have the texts that they had before."""
    return SourceFileLoader("", path).source_to_code(text, path)
