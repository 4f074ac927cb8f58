"""A bench with a store of tasks over SQLite, whose clock a test moves, and with tasks in each status."""

from collections import defaultdict
from collections.abc import Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from src.kernel.calls.pace import Rests
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import DEADLINE_EXCEEDED, Failure, NewTask, Reduce, Route, Status, TaskOptions
from src.kernel.store import rows
from src.kernel.store.claims import CallKey, Claim, Continue, Fail, Finish, Output, Release, Unclaimed
from src.kernel.store.d1 import Database
from src.kernel.store.work import NO_RESTS
from tests.conformance.cases.steps import progress
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import SqliteD1, run_coroutine

START_MS = 1_800_000_000_000
LEASE_MS = 10_000
RETENTION_MS = 1_000_000
DEADLINE_MS = 10_000_000  # The deadline of tasks that `in_status` writes.
OVERDUE = Failure(DEADLINE_EXCEEDED, "too late", True)
FAILURE = Failure(TaskCode.MODEL_REFUSED, "401", False)


class StoreBench:
    """One database and its store. Time passes only when a test calls `pass_ms`."""

    def __init__(self) -> None:
        self.time_ms = START_MS
        self.database = SqliteD1(now_ms=lambda: self.time_ms)
        self.store = task_store(Database(self.database, Meter()))
        self._named = 0

    def pass_ms(self, milliseconds: int) -> int:
        self.time_ms += milliseconds
        return self.time_ms

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_coroutine(coroutine)

    def row(self, task_key: str) -> dict[str, Any]:
        (row,) = self.database.rows("SELECT * FROM tasks WHERE id = ?", task_key)
        return row

    def insert(
        self, task_key: str = "task", *, chunks: int = 2, reduce: Reduce = Reduce.CONCAT, **terms: Any
    ) -> TaskKey:
        self.run(self.store.insert(new_task(task_key, chunks, reduce, self.time_ms, **terms), LEASE_MS))
        return TaskKey(task_key)

    def claim(
        self, task_key: str = "task", *, holder: str | None = None, host: str = "", rests: Rests = NO_RESTS
    ) -> Claim:
        made = self.try_claim(task_key, holder=holder, host=host, rests=rests)
        assert isinstance(made, Claim), made
        return made

    def try_claim(
        self, task_key: str = "task", *, holder: str | None = None, host: str = "", rests: Rests = NO_RESTS
    ) -> Claim | Unclaimed:
        """Try to claim a task by a new name, unless one is given. Return the claim or refusal."""
        self._named += 1
        name, key = holder or f"holder-{self._named}", TaskKey(task_key)
        claim = self.store.claim(key, holder=name, host=host, route=Route.QUEUE, lease_ms=LEASE_MS, rests=rests)
        return self.run(claim)

    def step(self, claim: Claim, step: Continue | Release | Finish | Fail | None = None, **changes: Any) -> bool:
        return self.run(self.store.step(claim, progress(claim, **changes), step or Continue(LEASE_MS)))

    def in_status(self, status: Status, task_key: str = "task") -> Claim | None:
        self.insert(task_key, deadline_ms=DEADLINE_MS)
        if status is Status.PENDING:
            return None
        claim = self.claim(task_key)
        match status:
            case Status.COMPLETED:
                assert self.step(claim, Finish(RETENTION_MS), outputs=outputs(0, 1), completed=2)
            case Status.FAILED:
                assert self.step(claim, Fail(RETENTION_MS, FAILURE), failed=1)
            case Status.CANCELLED:
                assert self.run(self.store.cancel(TaskKey(task_key), RETENTION_MS))[0]
        return claim


def new_task(
    task_key: str,
    chunks: int,
    reduce: Reduce,
    created_at: int,
    *,
    output_schema: str | None = None,
    join_rules: Mapping[str, str] = MappingProxyType({}),
    metadata: Mapping[str, object] = MappingProxyType({"a": [1, None, "ü"]}),
    **terms: Any,
) -> NewTask:
    return NewTask(
        task_key=TaskKey(task_key),
        route=Route.QUEUE,
        text="x" * chunks,
        instructions="do",
        cuts=tuple(range(1, chunks + 1)),
        overlap=0,
        merge_chars=2000,
        created_at=created_at,
        options=TaskOptions(reduce=reduce, metadata=metadata, **terms),
        output_schema=output_schema,
        join_rules=join_rules,
    )


def outputs(*positions: int, tag: str = "output", level: int = 0) -> list[Output]:
    return [Output(CallKey(level, position), f"{tag} {position}", 1) for position in positions]


def stored_outputs(database: SqliteD1) -> Mapping[tuple[str, int, int], tuple[str, int]]:
    levels: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in database.rows("SELECT task_id, level, part, hex(body) AS body FROM segments"):
        levels[row["task_id"], row["level"]].append(row)
    return {
        (task_key, *output.key): (output.text, output.calls)
        for (task_key, level), found in levels.items()
        for output in rows.outputs(level, found)
    }
