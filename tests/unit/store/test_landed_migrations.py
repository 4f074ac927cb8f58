"""A migration that has landed is never edited, and a new one only adds."""

import hashlib
import re
import sqlite3
from pathlib import Path

import pytest

from local.node import ROOT

FOLDER = ROOT / "migrations"
MIGRATIONS = sorted(FOLDER.glob("*.sql"))
# The last one that landed before there was this rule.
LAST_BEFORE = "0012_patience.sql"
# Statements that take something away that code of the release before may use.
_TAKES_AWAY = re.compile(
    r"\b(?:DROP\s+(?:TABLE|COLUMN|VIEW)|RENAME|DELETE\s+FROM|ADD\s+COLUMN\s+\w+[^;,]*\bNOT\s+NULL\b(?![^;,]*\bDEFAULT\b))",
    re.IGNORECASE,
)


def landed() -> dict[str, str]:
    """The digests of LANDED, by name."""
    lines = [line.split("  ") for line in (FOLDER / "LANDED").read_text().splitlines() if not line.startswith("#")]
    return {name: digest for digest, name in lines}


def test_no_landed_migration_was_edited() -> None:
    """Each has the digest that LANDED has, and none was taken away."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MIGRATIONS}
    assert {name: digests.get(name) for name in landed()} == landed()


def test_each_migration_has_landed() -> None:
    """One that reaches main without its line could be edited unseen. wrangler applies them in the order of names."""
    names = [path.name for path in MIGRATIONS]
    assert set(names) <= set(landed())
    assert [name for name in names if name in landed()] == list(landed())
    numbers = [int(name[:4]) for name in names]
    assert numbers == sorted(set(numbers))


def statements(path: Path) -> str:
    return re.sub(r"--[^\n]*", "", path.read_text("utf-8"))


@pytest.mark.parametrize("path", [path for path in MIGRATIONS if path.name > LAST_BEFORE], ids=lambda path: path.name)
def test_a_new_migration_only_adds(path: Path) -> None:
    """Code of the release before goes on beside it: nothing is dropped or renamed, no column must be given."""
    assert not _TAKES_AWAY.search(statements(path))


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE tasks",
        "ALTER TABLE tasks DROP COLUMN input",
        "ALTER TABLE tasks RENAME COLUMN a TO b",
        "DELETE FROM tasks",
        "ALTER TABLE tasks ADD COLUMN x TEXT NOT NULL",
    ],
)
def test_what_takes_away_is_found(text: str) -> None:
    """The rule sees each kind."""
    assert _TAKES_AWAY.search(text)
    assert not _TAKES_AWAY.search(
        "ALTER TABLE tasks ADD COLUMN x TEXT; ALTER TABLE tasks ADD COLUMN y INT NOT NULL DEFAULT 0"
    )


def test_a_migration_is_applied_once() -> None:
    """A second run of all of them fails at the first, so nothing but wrangler's record keeps them from it."""
    database = sqlite3.connect(":memory:")
    for path in MIGRATIONS:
        database.executescript(path.read_text("utf-8"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        database.executescript(MIGRATIONS[0].read_text("utf-8"))
    database.close()
