"""Refuses a database that was made before all migrations were squashed into one, because no migration updates it.

No release had the old schema, so only developers have such databases.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from ..arguments import UsageError
from .account import Needs, parsed
from .cloud import Cloud, need

# The query finds the name of the old first migration in the records of a database; the first migration's name is new.
_FOUND = Path(__file__).with_suffix(".sql").read_text("utf-8").strip()
_NO_RECORD = "no such table: d1_migrations"  # The error of a database without any migration.
FILES = "v3/d1/*/*.sqlite"  # Where Miniflare keeps databases, below the state folder.


def sentence(database: str, instead: str) -> str:
    """Return a sentence that says that a database cannot be used, and what to do instead."""
    return f"{database} is from before migrations/0001_initial.sql and cannot be upgraded: {instead}"


def refuse_former_state(persist_to: Path) -> None:
    """Check the databases of a local state folder. Raises `UsageError` for a database with the old schema."""
    for path in persist_to.glob(FILES):
        if _is_former(path):
            raise UsageError(
                sentence(f"the database in {persist_to}", "delete this folder, or choose another with --persist-to")
            )


def refuse_former_database(cloud: Cloud, wanted: Needs) -> None:
    """Check the account's database. Raises `UsageError` for the old schema, `StepFailed` if wrangler fails."""
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
    """Whether a file is a database with the old schema.

    The result is False for a file that is no database, or that a server has locked.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(_FOUND).fetchone() is not None
    except sqlite3.Error:
        return False
