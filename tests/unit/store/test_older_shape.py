"""Tasks of the shape before segments, running and ended, in a database that is then migrated.

The shape is that of migrations 0001 to 0003: a row of `outputs` for each output, the input kept to the end of the
retention, no stored plan of a merge.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from src.core.ids import TaskKey
from src.core.meter import Meter
from src.core.states import Status
from src.processing.outcomes import Ended
from src.processing.sweep import Sweep
from src.store.database import Database
from src.store.tasks import TaskStore
from tests.support.sqlite_d1 import SqliteD1
from tests.support.store_bench import RETENTION_MS, START_MS
from tests.support.worker_bench import HOST, WorkerBench

OLDER = 3  # migrations
CHUNKS = 4
TABLES = ("texts", "outputs", "segments", "failures", "merges")
LEASE_OVER: dict[str, Any] = {
    "status": "processing",
    "fence": 1,
    "step": 2,
    "holder": "of older code",
    "lease_until": START_MS - 1_000,
    "attempts": 1,
    "started_at": START_MS - 60_000,
    "announced_at": START_MS - 60_000,
}
OVER: dict[str, Any] = {
    "started_at": START_MS - 60_000,
    "finished_at": START_MS - 1_000,
    "wake_at": START_MS + RETENTION_MS,
}


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """Workers over a database with the tables of older code, and none of the later ones yet."""
    made = WorkerBench()
    clock = made.database.now_ms
    made.database.close()
    made.database = SqliteD1(migrated=False, now_ms=clock)
    made.database.migrate(OLDER)
    made.store = TaskStore(Database(made.database, Meter()))
    yield made
    made.close()


def put(bench: WorkerBench, name: str, *, chunks: int = CHUNKS, done: int = 0, **columns: Any) -> TaskKey:
    """Write a task of letters, with so many outputs, as older code has left it."""
    key = TaskKey(f"local:{name}")
    row = {
        "id": key,
        "status": "pending",
        "route": "queue",
        "reduce": "concat",
        "metadata": "{}",
        "total": chunks,
        "completed": done,
        "merge_chars": 2_000,
        "calls_minimum": chunks,
        "calls_settled": done,
        "created_at": START_MS - 60_000,
        "wake_at": START_MS,
    } | columns
    _insert(bench, "tasks", row)
    cuts = json.dumps(list(range(1, chunks + 1)))
    text = {"task_id": key, "input": "abcdefgh"[:chunks], "instructions": "do", "cuts": cuts, "overlap": 0}
    _insert(bench, "texts", text)
    for idx in range(done):
        _insert(bench, "outputs", {"task_id": key, "level": 0, "idx": idx, "output": f"old {idx}", "attempts": 1})
    return key


def _insert(bench: WorkerBench, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    bench.database.rows(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608


def upgrade(bench: WorkerBench) -> None:
    """Apply the later migrations, as a deployment does before its code."""
    bench.database.migrate(applied=OLDER)


def run(bench: WorkerBench, key: TaskKey) -> list[str]:
    """Have a worker of now complete the task; return the texts that it called the model for."""
    before = len(bench.model.calls)
    assert bench.do(bench.worker().run(key, HOST)) == Ended(Status.COMPLETED)
    return [call.user for _, call in bench.model.calls[before:]]


def shown(bench: WorkerBench, key: TaskKey) -> list[str | None]:
    """The outputs of a task's chunks as the API gives them, each once."""
    chunks = bench.do(bench.store.chunks(key))
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    return [chunk.output for chunk in chunks]


def test_a_pending_task_runs(bench: WorkerBench):
    """Nobody had begun it."""
    key = put(bench, "fresh")
    upgrade(bench)
    assert run(bench, key) == ["a", "b", "c", "d"]
    assert shown(bench, key) == ["<a>", "<b>", "<c>", "<d>"]


def test_a_task_whose_worker_was_of_older_code_goes_on(bench: WorkerBench):
    """Its outputs count, and the calls that were out are in doubt and made again: no other is."""
    key = put(bench, "running", done=2, in_flight="[[0,2],[0,3]]", **LEASE_OVER)
    upgrade(bench)
    assert run(bench, key) == ["c", "d"]
    assert shown(bench, key) == ["old 0", "old 1", "<c>", "<d>"]
    task = bench.do(bench.store.task(key))
    assert (task.usage.model_calls, task.usage.in_doubt) == (6, 2)
    assert task.result == "old 0\n\nold 1\n\n<c>\n\n<d>"


def test_a_merge_without_a_stored_plan_goes_on(bench: WorkerBench):
    """It is planned from the rows below it, and ends in a segment."""
    key = put(
        bench, "merging", done=CHUNKS, reduce="merge", calls_minimum=CHUNKS + 1, in_flight="[[1,0]]", **LEASE_OVER
    )
    upgrade(bench)
    assert len(run(bench, key)) == 1
    task = bench.do(bench.store.task(key))
    assert (task.usage.model_calls, task.usage.in_doubt) == (CHUNKS + 2, 1)
    assert all(f"old {idx}" in task.result for idx in range(CHUNKS))


def test_a_task_that_waited_for_another_attempt_makes_it(bench: WorkerBench):
    """A failure that older code has recorded is on the bill, and counts as an attempt."""
    begun = {"fence": 1, "step": 3, "attempts": 1, "started_at": START_MS - 60_000, "announced_at": START_MS - 60_000}
    key = put(bench, "waiting", done=1, **begun | {"calls_settled": 2})
    failure = {"task_id": key, "level": 0, "idx": 1, "attempts": 1, "calls": 1, "final": 0}
    _insert(bench, "failures", failure | {"code": "model_unavailable", "message": "503", "retryable": 1})
    upgrade(bench)
    assert run(bench, key) == ["b", "c", "d"]
    assert [chunk.attempts for chunk in bench.do(bench.store.chunks(key))] == [1, 2, 1, 1]


def test_ended_tasks_are_read(bench: WorkerBench):
    """A result, the chunks of a failed task, and a cancelled one with its text."""
    completed = put(bench, "completed", done=CHUNKS, status="completed", **OVER)
    cause: dict[str, Any] = {"error_code": "model_refused", "error_message": "401", "error_retryable": 0}
    failed = put(bench, "failed", done=1, status="failed", failed=1, **cause, **OVER)
    cancelled = put(bench, "cancelled", done=3, status="cancelled", **OVER)
    upgrade(bench)
    read = {key: bench.do(bench.store.task(key)) for key in (completed, failed, cancelled)}
    assert [task.status for task in read.values()] == [Status.COMPLETED, Status.FAILED, Status.CANCELLED]
    assert read[completed].result == "old 0\n\nold 1\n\nold 2\n\nold 3"
    assert read[failed].failure.code == "model_refused"
    assert [len(shown(bench, key)) for key in read] == [4, 1, 3]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_ended_task_that_is_put_back_goes_on(bench: WorkerBench, status: str):
    """A retry keeps the outputs of older code, and calls for the others."""
    cause: dict[str, Any] = {"error_code": "model_timeout", "error_message": "late", "error_retryable": 1}
    key = put(bench, "ended", done=3, status=status, **cause if status == "failed" else {}, **OVER)
    upgrade(bench)
    assert bench.do(bench.store.retry(key, 180_000)) is not None
    assert run(bench, key) == ["d"]
    assert shown(bench, key) == ["old 0", "old 1", "old 2", "<d>"]


def test_ended_tasks_are_erased(bench: WorkerBench):
    """At the end of its retention nothing is left of a task of the older shape."""
    past = OVER | {"wake_at": START_MS - 1}
    put(bench, "completed", done=CHUNKS, status="completed", **past)
    upgrade(bench)
    assert bench.do(Sweep(bench.worker(), []).run()).erased == 1
    assert [bench.database.rows(f"SELECT * FROM {table}") for table in TABLES] == [[]] * len(TABLES)  # noqa: S608


def test_later_migrations_leave_older_code_able_to_write():
    """Objects may run code of before a deployment for minutes: what it writes fits into the later tables.

    Each column that it knows is as it was. What is new in one of its tables may be left out by an INSERT. No index of
    it refuses a row, and no trigger does anything.
    """
    database = SqliteD1(migrated=False)
    database.migrate(OLDER)
    before = _columns(database)
    database.migrate(applied=OLDER)
    after = _columns(database)
    for table, columns in before.items():
        assert columns.items() <= after[table].items(), table
        added = [column for name, column in after[table].items() if name not in columns]
        assert all(not column["notnull"] or column["dflt_value"] is not None for column in added), table
        indexes = database.rows("SELECT * FROM pragma_index_list(?)", table)
        assert [index["origin"] for index in indexes if index["unique"]] == ["pk"], table
    assert database.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'") == []
    database.close()


def _columns(database: SqliteD1) -> dict[str, dict[str, dict[str, Any]]]:
    tables = database.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        table["name"]: {
            column["name"]: column | {"cid": 0}
            for column in database.rows("SELECT * FROM pragma_table_xinfo(?)", table["name"])
        }
        for table in tables
    }
