"""A local database with a schema from before the first migration is refused, with one sentence and status 2."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from local import dev, key
from local.arguments import UsageError
from local.remote.former_state import refuse_former_state

FORMER = "0001_tasks.sql"
FOLDER = Path("v3/d1/miniflare-D1DatabaseObject")
RECORD = "CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)"
SENTENCE = (
    "the database in {} is from before migrations/0001_initial.sql and cannot be upgraded: delete this folder, or "
    "choose another with --persist-to"
)


def keep(state: Path, *names: str) -> None:
    """Make a local database with these migrations in its write-ahead log, as after a SIGKILL."""
    file = state / FOLDER / "0a.sqlite"
    file.parent.mkdir(parents=True)
    live = state / "live.sqlite"
    with closing(sqlite3.connect(live, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(RECORD)
        database.executemany("INSERT INTO d1_migrations (name) VALUES (?)", [(name,) for name in names])
        for suffix in ("", "-wal"):
            file.with_name(file.name + suffix).write_bytes(live.with_name(live.name + suffix).read_bytes())


def test_a_state_from_before_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, FORMER, "0018_operators.sql")
    with pytest.raises(UsageError) as caught:
        refuse_former_state(tmp_path)
    assert str(caught.value) == SENTENCE.format(tmp_path)


@pytest.mark.parametrize("names", [(), ("0001_initial.sql",), ("0001_initial.sql", "0002_second.sql")])
def test_any_other_state_is_not(tmp_path: Path, names: tuple[str, ...]) -> None:
    keep(tmp_path, *names)
    refuse_former_state(tmp_path)


@pytest.mark.parametrize("command", [dev.main, key.main])
def test_the_commands_say_so_and_end_with_2(
    tmp_path: Path,
    command: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    keep(tmp_path, FORMER)
    with pytest.raises(SystemExit) as left:
        command(["--persist-to", str(tmp_path)])
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"error: {SENTENCE.format(tmp_path)}\n")
