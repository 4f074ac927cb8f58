"""Simulates two releases of the code on one database: older isolates do not know the newest migration yet.

An older isolate neither writes nor reads the columns and tables that the newest migration adds. Each of these columns
and tables has a shadow, and the statements of an older isolate name the shadow instead. After each write of an older
isolate its shadows are set back to their defaults: a value that it writes to a shadow is lost, and its reads return the
default. A row that an older isolate inserts has the default in the real column, and a row that it updates keeps its
value there.

As long as there is only one migration, all isolates run the same code.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from simulator.campaign.clients.workload import Workload
from simulator.campaign.subject.patches import Patch
from simulator.platform.binding_port import Port
from simulator.platform.d1 import DatabaseServer, PreparedStatement
from simulator.platform.sqlite_database import Template, open_database

_SHADOW = "__unknown"
_TOKENS = re.compile(r"'(?:[^']|'')*'|\w+")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the newest migration adds; `definition` is its type, with NOT NULL if the column has it."""

    table: str
    name: str
    definition: str
    default: str
    elsewhere: frozenset[str] = frozenset()  # The names of the other tables that have a column of this name.

    def is_in(self, words: frozenset[str]) -> bool:
        """Whether a statement with the given words uses the column.

        Fails if the statement also names another table that has a column of this name.
        """
        if not {self.table, self.name} <= words:
            return False
        others = self.elsewhere & words
        assert not others, (
            f"a statement names {self.name}, of {self.table} or of {others}: give the column another name"
        )
        return True


@dataclass(frozen=True, slots=True)
class Added:
    """What the newest migration adds: columns of older tables, and tables as (name, SQL)."""

    columns: tuple[Column, ...] = ()
    tables: tuple[tuple[str, str], ...] = ()

    def shadows(self) -> str:
        """Return the SQL script that creates the shadows of the added columns and tables."""
        columns = [
            f"ALTER TABLE {one.table} ADD COLUMN {one.name}{_SHADOW} {one.definition} DEFAULT {one.default};"
            for one in self.columns
        ]
        return "\n".join([*columns, *(f"{self.renamed(sql)};" for _, sql in self.tables)])

    @lru_cache(maxsize=4096)  # noqa: B019 - there is one instance, which lives as long as its process
    def renamed(self, sql: str) -> str:
        """Return a statement as an older isolate sends it: with shadows in place of added columns and tables.

        The results are kept, because a schedule sends the same few hundred statements thousands of times.
        """
        words = frozenset(_TOKENS.findall(sql))
        unknown = {one.name for one in self.columns if one.is_in(words)} | {name for name, _ in self.tables}
        return _TOKENS.sub(lambda word: word[0] + _SHADOW if word[0] in unknown else word[0], sql)

    def resets(self) -> list[str]:
        """Return the statements that set the shadows back to their defaults."""
        columns = [
            f"UPDATE {one.table} SET {one.name}{_SHADOW} = {one.default} "  # noqa: S608 - from the schema
            f"WHERE {one.name}{_SHADOW} IS NOT {one.default}"
            for one in self.columns
        ]
        return [*columns, *(f"DELETE FROM {name}{_SHADOW}" for name, _ in self.tables)]  # noqa: S608 - likewise


def added(before: Sequence[str], newest: str) -> Added:
    """Return what the migration `newest` adds to the schema that the migrations `before` make."""
    with closing(open_database()) as then, closing(open_database()) as now:
        for script in before:
            then.executescript(script)
        for script in (*before, newest):
            now.executescript(script)
        known, found = _tables(then), _tables(now)
        return Added(
            tuple(
                column(now, table, name)
                for table in known
                for name in _columns(now, table)
                if name not in _columns(then, table)
            ),
            tuple((table, sql) for table, sql in found.items() if table not in known),
        )


def column(connection: sqlite3.Connection, table: str, name: str) -> Column:
    """Return a column's description from the database's schema."""
    kind, is_needed, default = connection.execute(
        'SELECT type, "notnull", dflt_value FROM pragma_table_xinfo(?) WHERE name = ?', (table, name)
    ).fetchone()
    others = frozenset(one for one in _tables(connection) if one != table and name in _columns(connection, one))
    return Column(table, name, f"{kind}{' NOT NULL' if is_needed else ''}", default or "NULL", others)


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
    )


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]


@dataclass(frozen=True, slots=True)
class Releases:
    """The schema of the newest release, with shadows for isolates of the previous release."""

    template: Template
    newest: Added

    @classmethod
    def of_migrations(cls, folder: Path) -> "Releases":
        """Make the schema from the `*.sql` files of a folder, in the order of their names; the last is the newest."""
        scripts = [path.read_text("utf-8") for path in sorted(folder.glob("*.sql"))]
        newest = added(scripts[:-1], scripts[-1]) if len(scripts) > 1 else Added()
        return cls(Template([*scripts, newest.shadows()]), newest)


def mixed(workload: Workload, rng: Random) -> Workload:
    """In a third of the runs, let half or all of the isolates run the previous release."""
    return replace(workload, older_isolates=rng.choice((0.0, 0.0, 0.0, 0.0, 0.5, 1.0)))


def older_isolates(seed: int, share: float, newest: Added, *, until_calm: bool = False) -> list[Patch]:
    """Return the patches that hide the newest migration from this share of a run's isolates.

    The seed and an isolate's name decide whether the isolate is an older one. `until_calm`: only while
    faults last. Older isolates cannot work on tasks with schemas or gaps, which wait until the deployment is over.
    """
    if not share or newest == Added():
        return []
    plain, resets = DatabaseServer._execute_one, newest.resets()

    def execute_one(server: DatabaseServer, statement: PreparedStatement) -> dict[str, Any]:
        port = statement._database._port
        assert isinstance(port, Port), "it has an isolate"
        is_over = until_calm and not server.faults.active
        if is_over or Random(f"{seed}/{port.isolate.name}").random() >= share:
            return plain(server, statement)
        theirs = newest.renamed(statement.sql)
        if theirs == statement.sql:
            return plain(server, statement)
        result = plain(server, PreparedStatement(statement._database, theirs, statement.values))
        for reset in resets if result["meta"]["changes"] else ():
            server.connection.execute(reset)
        return result | {"columns": [name.removesuffix(_SHADOW) for name in result["columns"]]}

    return [(DatabaseServer, "_execute_one", execute_one)]
