"""Every statement of the store, run in stories from submit to the end: what it returns, changes and costs."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.core.meter import Meter
from src.core.states import Status
from src.core.task import Failure, NewTask, Reduce, Route
from src.store import statements
from src.store.claims import CallKey, Claim, Continue, Fail, FailedCall, Finish, Output, Progress, Release, Tried
from src.store.database import Database
from src.store.tasks import TaskStore
from tests.conformance.cases.registry import show, worker_case

LEASE_MS = 60_000
RETENTION_MS = 1_000_000
FAILURE = Failure("model_refused", "401", retryable=False)
# Columns that hold times, which differ from run to run.
_TIMES = {"now", "lease_left", "wait_left", "created_at", "started_at", "finished_at", "wake_at"}


def statement_names() -> dict[str, str]:
    """The name of each statement by its text."""
    names = {}
    for name, value in vars(statements).items():
        if not name.isupper() or name.startswith("_") or name == "NOW":
            continue
        texts = [value] if isinstance(value, str) else value
        names |= {text: name if isinstance(value, str) else f"{name}[{at}]" for at, text in enumerate(texts)}
    return names


class Recorder:
    """The D1 binding, which writes down what each statement did."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.log: list[list[Any]] = []
        self.rows_read: list[list[Any]] = []
        self._names = statement_names()

    def prepare(self, sql: str) -> Any:
        """Prepare one statement and remember its name."""
        return _Named(self._names[sql], self.database.prepare(sql))

    async def batch(self, prepared: Sequence[Any]) -> Any:
        """Run the batch and record name, rows, changes and rows written of each statement."""
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


class Story:
    """A store over `env.DB` and what it did."""

    def __init__(self, env: Any) -> None:
        self.recorder = Recorder(env.DB)
        self.store = TaskStore(Database(self.recorder, Meter()))
        self.outcomes: list[Any] = []

    async def insert(
        self, task_id: str, chunks: int = 3, reduce: Reduce = Reduce.CONCAT, unclaimed_ms: int = 1
    ) -> None:
        """Submit a task; it is due at once."""
        new = NewTask(
            id=task_id,
            route=Route.QUEUE,
            text="x漢" * chunks,
            instructions="do",
            cuts=tuple(range(2, 2 * chunks + 1, 2)),
            overlap=0,
            merge_chars=2000,
            reduce=reduce,
            model=None,
            metadata={"a": [1, None, "ü"]},
            created_at=1,
        )
        await self.store.insert(new, unclaimed_ms)

    async def claim(self, task_id: str, holder: str, lease_ms: int = LEASE_MS, host: str = "") -> Claim:
        """Take a claim that must be granted."""
        made = await self.store.claim(task_id, holder=holder, host=host, route=Route.QUEUE, lease_ms=lease_ms)
        assert isinstance(made, Claim), made
        return made

    async def refused(self, task_id: str, holder: str) -> None:
        """Ask for a claim that must not be granted."""
        made = await self.store.claim(task_id, holder=holder, host="", route=Route.QUEUE, lease_ms=LEASE_MS)
        assert not isinstance(made, Claim), made
        self.outcomes.append(made.standing)

    def told(self) -> Any:
        """Everything for the comparison."""
        return [self.recorder.log, [str(one) for one in self.outcomes]]


def _progress(claim: Claim, **changes: Any) -> Progress:
    facts: dict[str, Any] = {
        "calls_settled": claim.calls_settled,
        "calls_in_doubt": claim.calls_in_doubt,
        "calls_minimum": len(claim.cuts),
        "completed": 0,
        "failed": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "stalls": claim.stalls,
        "rate_waits": claim.rate_waits,
    }
    return Progress(**(facts | changes))


def _outputs(*positions: int, level: int = 0) -> list[Output]:
    return [Output(CallKey(level, position), f"output {position}", 1) for position in positions]


def _failures(*positions: int, final: bool = False) -> list[FailedCall]:
    return [FailedCall(CallKey(0, position), Tried(1, 2), final, FAILURE) for position in positions]


@worker_case
async def a_task_from_submit_to_completed(env: Any) -> Any:
    story = Story(env)
    store = story.store
    await store.ready()
    await story.insert("task")
    await story.insert("task")
    claim = await story.claim("task", "one")
    await story.claim("task", "one")
    await story.refused("task", "two")
    in_flight = [CallKey(0, 0), CallKey(0, 1)]
    assert await store.step(claim, _progress(claim, in_flight=in_flight), Continue(LEASE_MS))
    done = _progress(claim, outputs=_outputs(0, 1), failures=_failures(2), completed=2, calls_settled=3)
    assert await store.step(claim, done, Continue(LEASE_MS))
    assert await store.step(claim, done, Continue(LEASE_MS))
    assert not await store.step(claim, _progress(claim, completed=2), Finish(RETENTION_MS))
    everything = _progress(claim, outputs=_outputs(2), completed=3, calls_settled=4)
    assert await store.step(claim, everything, Finish(RETENTION_MS))
    assert await store.step(claim, everything, Finish(RETENTION_MS))
    story.outcomes += [await store.task("task"), await store.chunks("task"), await store.status("task")]
    story.outcomes = [one.result if hasattr(one, "result") else one for one in story.outcomes]
    return story.told()


@worker_case
async def rows_read_by_a_claim(env: Any) -> Any:
    story = Story(env)
    await story.insert("task")
    await story.claim("task", "one")
    return story.recorder.rows_read


@worker_case
async def a_task_taken_over_released_and_failed(env: Any) -> Any:
    story = Story(env)
    store = story.store
    await story.insert("task")
    zombie = await story.claim("task", "one", lease_ms=0)
    assert await store.step(zombie, _progress(zombie, in_flight=[CallKey(0, 0)]), Continue(0))
    heir = await story.claim("task", "two", host="host")
    assert heir.calls_in_doubt == 1
    assert not await store.step(zombie, _progress(zombie, outputs=_outputs(0), completed=1), Finish(RETENTION_MS))
    again = await story.claim("task", "three", host="host")
    released = _progress(again, outputs=_outputs(1), completed=1)
    assert await store.step(again, released, Release(0, 0))
    assert await store.step(again, released, Release(0, 0))
    assert not await store.dead_letter("none", FAILURE, RETENTION_MS)
    last = await story.claim("task", "four")
    assert not await store.dead_letter("task", FAILURE, RETENTION_MS)
    failed = _progress(last, failures=_failures(0, final=True), completed=1, failed=1)
    assert await store.step(last, failed, Fail(RETENTION_MS, FAILURE))
    await story.refused("task", "five")
    story.outcomes += [await store.chunks("task")]
    assert await store.retry("task", LEASE_MS)
    assert not await store.retry("task", LEASE_MS)
    assert await store.cancel("task", RETENTION_MS)
    assert not await store.cancel("task", RETENTION_MS)
    assert await store.erase("task")
    assert not await store.erase("task")
    await story.refused("task", "six")
    return story.told()


@worker_case
async def a_task_cancelled_under_its_worker(env: Any) -> Any:
    story = Story(env)
    store = story.store
    await story.insert("task")
    claim = await story.claim("task", "one")
    assert await store.step(claim, _progress(claim, in_flight=[CallKey(0, 0)]), Continue(LEASE_MS))
    assert await store.cancel("task", RETENTION_MS)
    paid = _progress(claim, outputs=_outputs(0), completed=1, calls_settled=1)
    assert not await store.step(claim, paid, Continue(LEASE_MS))
    await store.settle_cancelled(claim, paid)
    assert await store.retry("task", LEASE_MS)
    await store.settle_cancelled(claim, paid)
    return story.told()


@worker_case
async def a_merge_and_its_levels(env: Any) -> Any:
    story = Story(env)
    store = story.store
    await story.insert("task", reduce=Reduce.MERGE)
    claim = await story.claim("task", "one")
    chunks = _progress(claim, outputs=_outputs(0, 1, 2), completed=3, calls_settled=3)
    assert await store.step(claim, chunks, Continue(LEASE_MS))
    story.outcomes.append(sorted((await store.level_outputs("task", 0)).items()))
    merged = _progress(claim, outputs=_outputs(0, level=1), completed=3, calls_settled=4, calls_minimum=4)
    assert not await store.step(claim, _progress(claim, completed=3), Finish(RETENTION_MS, 1))
    assert await store.step(claim, merged, Finish(RETENTION_MS, 1))
    task = await store.task("task")
    assert task is not None
    story.outcomes.append(task.result)
    return story.told()


@worker_case
async def what_the_sweep_does(env: Any) -> Any:
    story = Story(env)
    store = story.store
    for at, task_id in enumerate(("idle", "live", "over", "dead", "hopeless", "later")):
        await story.insert(task_id, unclaimed_ms=at - 10 if task_id != "later" else LEASE_MS)
    await story.claim("live", "one", lease_ms=LEASE_MS)
    over = await story.claim("over", "one")
    done = _progress(over, outputs=_outputs(0, 1, 2), completed=3)
    assert await store.step(over, done, Finish(-1))
    await story.claim("dead", "one", lease_ms=0)
    await story.claim("hopeless", "one", lease_ms=0)
    await story.claim("hopeless", "two", lease_ms=0)
    due = await store.due(10)
    story.outcomes.append(sorted(due.stalls.items()))
    hopeless = sorted(due.stalls)
    story.outcomes.append(await store.give_up(hopeless, 2, FAILURE, RETENTION_MS))
    story.outcomes.append(await store.give_up(hopeless, 1, FAILURE, RETENTION_MS))
    story.outcomes.append(await store.give_up(hopeless, 1, FAILURE, RETENTION_MS))
    story.outcomes += [sorted(due.live), sorted(due.idle), sorted(due.over)]
    story.outcomes.append(await store.settle_due(due, 1000))
    story.outcomes.append(await store.settle_due(due, 1000))
    assert await store.dead_letter("idle", FAILURE, RETENTION_MS)
    story.outcomes.append([task.id for task in await store.list(before=None, status=None, most=10)])
    story.outcomes.append([task.id for task in await store.list(before="later", status=None, most=1)])
    story.outcomes.append([task.id for task in await store.list(before=None, status=Status.FAILED, most=10)])
    return story.told()


@worker_case
async def outputs_too_large_for_one_parameter(env: Any) -> Any:
    story = Story(env)
    await story.insert("task")
    claim = await story.claim("task", "one")
    large = [Output(CallKey(0, position), "漢" * 330_000, 1) for position in range(3)]
    done = _progress(claim, outputs=large, completed=3)
    assert await story.store.step(claim, done, Finish(RETENTION_MS))
    task = await story.store.task("task")
    assert task is not None
    return [[[name, changes, written] for name, _, changes, written in story.recorder.log], len(str(task.result))]
