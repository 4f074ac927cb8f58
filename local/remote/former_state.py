"""Refuses a database from before all migrations were squashed into one: no migration updates such a database.

No release had that schema, so only developers have such databases.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from ..arguments import UsageError
from .account import Needs, parsed
from .cloud import Cloud, need

# An old database records the old first migration. Now the first migration has another name.
_FOUND = Path(__file__).with_suffix(".sql").read_text("utf-8").strip()
_NO_RECORD = "no such table: d1_migrations"  # The error of a database without any migration.
FILES = "v3/d1/*/*.sqlite"  # The place where Miniflare keeps databases, below the folder of the state.


def sentence(database: str, instead: str) -> str:
    """Say that a database cannot be used, and what to do instead."""
    return f"{database} is from before migrations/0001_initial.sql and cannot be upgraded: {instead}"


def refuse_former_state(persist_to: Path) -> None:
    """Check the databases of a local state. Raises `UsageError` for a database with the old schema."""
    for path in persist_to.glob(FILES):
        if _is_former(path):
            raise UsageError(
                sentence(f"the database in {persist_to}", "delete this folder, or choose another with --persist-to")
            )


def refuse_former_database(cloud: Cloud, wanted: Needs) -> None:
    """Check the database of the account. Raises `UsageError` for one with the old schema, and `StepFailed`."""
    answer = cloud("d1", "execute", "DB", "--remote", "--json", "--command", _FOUND, wanted.flag)
    if answer.status != 0 and _NO_RECORD in answer.said:
        return
    (found,) = parsed(need(answer, "Checking which migrations the database has"))
    if found["results"]:
        raise UsageError(
            sentence(
                f"the deployed database {wanted.database}",
                f"delete it with `npx wrangler d1 delete {wanted.database}`, then run `make deploy` again",
            )
        )


def _is_former(path: Path) -> bool:
    """Whether a file is such a database.

    A file that is no database, or that a server has locked, is left to other checks.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(_FOUND).fetchone() is not None
    except sqlite3.Error:
        return False
