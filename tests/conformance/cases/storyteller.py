"""The base of stories: stores over `env.DB` that record the result, changes and written rows of each statement."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

from src.features.attempts import log as attempts
from src.features.batches.store import batch_files, batches
from src.features.bulk import store as bulk
from src.features.bulk.store import BulkStore
from src.features.cost import month
from src.features.files import sql as files
from src.features.files.store import FileStore
from src.features.gaps import gap_retries
from src.features.operate import tallies as figures
from src.features.operate.tallies import TallyStore
from src.features.structured.joining import Joiner, joiner_for
from src.features.structured.schema.schema import accepted_schema
from src.features.texts import store as file_texts
from src.features.webhooks import deliveries_store
from src.features.webhooks.deliveries_store import DeliveryStore, Outbox
from src.features.webhooks.endpoints_store import WebhookStore
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey, new_task_id, task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import DEADLINE_EXCEEDED, Failure, NewTask, Reduce, Route, Source, TaskOptions
from src.kernel.store import (
    absence,
    admission,
    claiming,
    early_erasure,
    ending,
    events,
    keys,
    latest_calls,
    resend,
    seen,
    sweep,
    tallies,
    views,
    window,
    work_statements,
)
from src.kernel.store.claims import Claim
from src.kernel.store.d1 import Database, Statement
from src.kernel.store.hooks import Hooks
from src.kernel.store.keys import KeyStore
from src.kernel.store.tallies import Tallies
from src.kernel.store.tasks import TaskStore
from tests.conformance.cases.registry import Case, show, worker_case

LEASE_MS = 60_000
RETENTION_MS = 1_000_000
OVERDUE = Failure(DEADLINE_EXCEEDED, "too late", retryable=True)
# These columns differ between runs, because they contain times or the numbers of writes.
_TIMES = {
    *("now", "lease_left", "rest_left", "wait_left", "created_at", "started_at", "finished_at", "wake_at"),
    *("deadline_at", "deadline_left", "left_ms", "expires_at", "step", "at", "oldest_ms", "announced_at"),
    *("read_at", "lease_until", "rest_until", "sent_at", "age_ms", "ended_by", "news_at"),
    *("asked_until", "resumed_at", "since", "failed_at", "counted_from", "month"),
    *("until", "beyond", "waited_ms", "took_ms", "valid_at", "finalizing_at", "writer_until"),
    *("stored_at", "due_at", "begun_at", "ended_at", "paused_until", "disabled_at", "updated_at", "missing"),
}
STATEMENT_MODULES = (
    *(absence, admission, attempts, batch_files, batches, bulk, claiming, deliveries_store, early_erasure, ending),
    *(events, figures, file_texts, files, gap_retries, keys, latest_calls, month, resend, seen, sweep, tallies),
    *(views, window, work_statements),
)


def statement_names() -> dict[str, str]:
    """Return the names of the store's statements, also of those in tuples, by their texts."""
    names: dict[str, str] = {}
    for module in STATEMENT_MODULES:
        for name, value in vars(module).items():
            row = {f"{name}[{at}]": one for at, one in enumerate(value)} if isinstance(value, tuple) else {name: value}
            for full_name, one in row.items():
                if isinstance(one, Statement):
                    assert names.get(one.sql, full_name) == full_name, (full_name, names[one.sql])
                    names[one.sql] = full_name
    assert len(set(names.values())) == len(names), "two statements have one name"
    return names


class Recorder:
    """A D1 binding that records what each statement did."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.log: list[list[Any]] = []
        self.rows_read: list[list[Any]] = []
        self._names = statement_names()

    def prepare(self, sql: str) -> Any:
        return _Named(self._names[sql], self.database.prepare(sql))

    async def batch(self, prepared: Sequence[Any]) -> Any:
        results = await self.database.batch([one.statement for one in prepared])
        for one, result in zip(prepared, results, strict=True):
            meta = result["meta"]
            rows = [_timeless(row) for row in result["results"]]
            self.log.append([one.name, rows, meta["changes"], meta["rows_written"]])
            self.rows_read.append([one.name, meta["rows_read"]])
        return results


class _Named:
    def __init__(self, name: str, statement: Any) -> None:
        self.name = name
        self.statement = statement

    def bind(self, *values: Any) -> "_Named":
        return _Named(self.name, self.statement.bind(*values))


def _timeless(row: Mapping[str, Any]) -> Any:
    return show({name: (value is not None if name in _TIMES else value) for name, value in row.items()})


def made_key(at: int, tenant: str = "local") -> TaskKey:
    return task_key_of(tenant, new_task_id(at, bytes(10)))


TASK = made_key(1)  # for stories about one task


def new_task(key: TaskKey = TASK, chunks: int = 3, reduce: Reduce = Reduce.CONCAT, **terms: Any) -> NewTask:
    return NewTask(
        task_key=key,
        route=Route.QUEUE,
        text="x漢" * chunks,
        instructions="do",
        cuts=tuple(range(2, 2 * chunks + 1, 2)),
        overlap=0,
        merge_chars=2000,
        created_at=1,
        options=TaskOptions(**({"reduce": reduce, "metadata": {"a": [1, None, "ü"]}} | terms)),
    )


def _joiner_of(source: Source) -> Joiner:
    return joiner_for(accepted_schema(dict(source.output_schema or {})), source.join_rules or {})


class _Unsent(Outbox):
    """Writes webhook deliveries where tasks end, and sends none."""

    def begin(self) -> None:
        """Do nothing."""


class Story:
    """The stores of a story, and the record of their results and statements."""

    def __init__(self, env: Any) -> None:
        self.recorder = Recorder(env.DB)
        self.outbox = _Unsent()
        self.store = TaskStore(Database(self.recorder, Meter()), Hooks([self.outbox], _joiner_of))
        self.keys = KeyStore(Database(self.recorder, Meter()))
        self.sums = self.store.beside(Tallies)
        self.figures = self.store.beside(TallyStore)
        self.bulk = self.store.beside(BulkStore)
        self.deliveries = self.store.beside(DeliveryStore)
        self.files = FileStore(Database(self.recorder, Meter()))
        self.webhooks = WebhookStore(Database(self.recorder, Meter()))
        self.outcomes: list[Any] = []
        self._database = env.DB

    async def insert(
        self, key: TaskKey = TASK, chunks: int = 3, reduce: Reduce = Reduce.CONCAT, unclaimed_ms: int = 1, **terms: Any
    ) -> None:
        await self.store.insert(new_task(key, chunks, reduce, **terms), unclaimed_ms)

    async def claim(
        self, holder: str, key: TaskKey = TASK, *, lease_ms: int = LEASE_MS, host: str = "", **options: Any
    ) -> Claim:
        made = await self.store.claim(key, holder=holder, host=host, route=Route.QUEUE, lease_ms=lease_ms, **options)
        assert isinstance(made, Claim), made
        return made

    async def refused(self, holder: str, key: TaskKey = TASK, *, host: str = "") -> None:
        """Ask for a claim that must not be granted, and record the standing in the answer."""
        made = await self.store.claim(key, holder=holder, host=host, route=Route.QUEUE, lease_ms=LEASE_MS)
        assert not isinstance(made, Claim), made
        self.outcomes.append(made.standing)

    async def cancel(self, key: TaskKey = TASK) -> bool:
        changed, left_ms, _ = await self.store.cancel(key, RETENTION_MS)
        assert 0 <= left_ms <= limits.START_SECONDS * 1000
        return changed

    async def erase(self, key: TaskKey = TASK) -> bool:
        changed, left_ms, _ = await self.store.erase(key)
        assert 0 <= left_ms <= limits.START_SECONDS * 1000
        return changed

    async def alter(self, sql: str, *values: Any) -> None:
        """Change rows without the store and without a record, for example as if time had passed."""
        result = await self._database.prepare(sql).bind(*values).run()
        assert result["meta"]["changes"], sql

    async def pass_deadline(self, key: TaskKey = TASK) -> None:
        await self.alter("UPDATE tasks SET deadline_at = 1, wake_at = min(wake_at, 1) WHERE id = ?1", key)

    async def note(self, sql: str) -> None:
        self.outcomes.append(show(list((await self._database.prepare(sql).run())["results"])))

    def told(self) -> Any:
        return [self.recorder.log, [str(one) for one in self.outcomes]]


def tells[S: Story](kind: Callable[[Any], S]) -> Callable[[Callable[[S], Awaitable[None]]], Case]:
    """Make a case of a story: its result is what the story's stores recorded."""

    def register(tell: Callable[[S], Awaitable[None]]) -> Case:
        @wraps(tell)
        async def case(env: Any) -> Any:
            story = kind(env)
            await tell(story)
            return story.told()

        return worker_case(case)

    return register


@contextmanager
def limited(name: str, value: int) -> Iterator[None]:
    before = getattr(limits, name)
    setattr(limits, name, value)
    try:
        yield
    finally:
        setattr(limits, name, before)
