"""What `make dev` does to the state of an earlier start: deleted contents, an old schema, and leases."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local import dev, key
from local.arguments import UsageError
from local.node import ROOT
from local.remote.former_state import refuse_former_state
from local.residue import clear_residue
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Status
from src.kernel.store.claims import CallKey, Claim
from tests.support.store_bench import LEASE_MS, StoreBench, outputs

ERASED = b"erased text"
KEPT = b"kept text"


pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "v3" / "d1" / "miniflare-D1DatabaseObject" / "1.sqlite"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def runtime(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE texts (id TEXT NOT NULL PRIMARY KEY, input TEXT NOT NULL) STRICT, WITHOUT ROWID"
        )
        for number in range(500):
            connection.execute("INSERT INTO texts VALUES (?, ?)", (f"erased-{number}", ERASED.decode() * 100))
        connection.execute("INSERT INTO texts VALUES ('kept', ?)", (KEPT.decode(),))
        connection.execute("DELETE FROM texts WHERE id <> 'kept'")
        yield connection


def content(database: Path) -> bytes:
    return b"".join(path.read_bytes() for path in database.parent.iterdir())


def test_what_was_deleted_is_gone_and_what_was_not_is_there(
    database: Path, runtime: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert ERASED in content(database)
    clear_residue(tmp_path)
    assert ERASED not in content(database)
    assert KEPT in content(database)
    assert runtime.execute("SELECT id FROM texts").fetchall() == [("kept",)]
    assert capsys.readouterr().err == ""


def test_a_database_that_is_as_it_was_left_is_not_rewritten(
    database: Path, runtime: sqlite3.Connection, tmp_path: Path
):
    clear_residue(tmp_path)
    before = database.stat().st_mtime_ns
    clear_residue(tmp_path)
    assert database.stat().st_mtime_ns == before
    runtime.execute("INSERT INTO texts VALUES ('new', '')")
    clear_residue(tmp_path)
    assert database.stat().st_mtime_ns > before


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN; SELECT * FROM texts"])
def test_a_database_in_use_is_left_alone_with_a_warning(
    lock: str,
    database: Path,
    runtime: sqlite3.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("local.residue._LOCK_SECONDS", 0.01)
    for statement in lock.split("; "):
        runtime.execute(statement).fetchall()
    clear_residue(tmp_path)
    assert f"erased text may stay readable in {database}" in capsys.readouterr().err
    runtime.execute("COMMIT")
    assert runtime.execute("SELECT id FROM texts").fetchall() == [("kept",)]


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


STATEMENT = (ROOT / "local" / "runtime" / "expire_leases.sql").read_text()
TASK = TaskKey("task")


@pytest.fixture
def bench() -> Iterator[StoreBench]:
    made = StoreBench()
    yield made
    made.database.close()


def restart(bench: StoreBench) -> None:
    bench.database.rows(STATEMENT.replace("?1", str(bench.pass_ms(1_000))))


def claim_keys(*positions: int) -> frozenset[CallKey]:
    return frozenset(CallKey(0, position) for position in positions)


def begun(bench: StoreBench) -> Claim:
    bench.insert()
    claim = bench.claim()
    assert bench.step(claim, in_flight=[(0, 0), (0, 1)])
    return claim


def test_a_task_of_a_former_start_goes_on_at_once(bench: StoreBench):
    """A restart of `make dev` ends all leases, so the sweep finds the tasks."""
    claim = begun(bench)
    restart(bench)
    assert bench.run(bench.store.due(10)).idle == [TASK]
    again = bench.claim()
    assert (again.fence, again.doubted, again.stalls) == (claim.fence + 1, claim_keys(0, 1), 0)
    assert not bench.step(claim, outputs=outputs(0), completed=1)


def test_a_task_says_that_its_worker_is_gone_though_calls_are_announced(bench: StoreBench):
    begun(bench)
    before = bench.run(bench.store.task(TASK))
    restart(bench)
    after = bench.run(bench.store.task(TASK))
    assert before is not None
    assert after is not None
    assert (before.waiting_for, len(before.calls_out)) == (None, 2)
    assert after.waiting_for is not None
    assert after.waiting_for.reason == "lease"
    assert (after.calls_out, len(after.calls_in_doubt), after.usage.in_doubt) == ((), 2, 2)


def test_restarts_are_no_stalls(bench: StoreBench):
    begun(bench)
    for _ in range(10):
        restart(bench)
        assert bench.claim().stalls == 0


def test_workers_of_this_start_keep_their_leases(bench: StoreBench):
    begun_at = bench.time_ms
    claim = begun(bench)
    bench.database.rows(STATEMENT.replace("?1", str(begun_at)))
    assert bench.row(TASK)["lease_until"] == bench.time_ms + LEASE_MS
    assert bench.step(claim)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PROCESSING])
def test_other_tasks_stay_as_they_are(bench: StoreBench, status: Status):
    bench.in_status(status)
    before = bench.row(TASK)
    restart(bench)
    assert bench.row(TASK) == before
