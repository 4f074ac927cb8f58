"""Measures what a completed task leaves in D1, in bytes and rows: 20 chunks of 6,000 characters, outputs of 1,000.

The tasks are stored through the Worker's store in SQLite, with D1's page size.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from bench.figures import Figure
from bench.prose import CHUNK_CHARS, LANGUAGES, OUTPUT_CHARS, Prose
from src.kernel.domain.ids import TaskKey, new_task_id, task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import NewTask, Route, TaskOptions
from src.kernel.store.claims import CallKey, Claim, Continue, Finish, Output, Progress
from src.kernel.store.d1 import D1Statement, Database
from src.kernel.store.tasks import TaskStore
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import SqliteD1

TASKS = 200
CHUNKS = 20
START_MS = 1_800_000_000_000
RETENTION_MS = 2_592_000_000
# The number of outputs that one write stores: six if six calls end together, one if calls end one by one.
TOGETHER = (6, 1)
BYTES_MOST = {"English": 20_000, "Chinese": 40_000}


def measure() -> list[Figure]:
    """Measure tasks in both languages, with outputs that are stored together and one by one."""
    figures: list[Figure] = []
    for name, prose in LANGUAGES.items():
        for together in TOGETHER:
            size, rows = task_cost(prose, together)
            how = f"20 outputs of 1,000 characters, {name}, {together} a write"
            most = BYTES_MOST[name] if together == TOGETHER[0] else None
            figures.append(Figure(f"{how}: D1 bytes", size, "bytes", most))
            figures.append(Figure(f"{how}: D1 rows written", rows, "rows", 20 if most else None))
        figures.append(Figure(f"a task and three polls, {name}: the database's time", database_ms(prose), "ms"))
    return figures


def task_cost(prose: Prose, together: int, tasks: int = TASKS) -> tuple[float, float]:
    """Complete a given number of tasks, and return the bytes of used pages and the written rows for each task."""
    database = SqliteD1(now_ms=lambda: START_MS)
    meter = Meter()
    store = task_store(Database(database, meter))
    empty = used_bytes(database)
    asyncio.run(_complete(store, prose, together, tasks))
    size = used_bytes(database) - empty
    database.close()
    return size / tasks, meter.rows_written / tasks


def database_ms(prose: Prose) -> float:
    """Return the processor time, in ms, that the database takes for a task's submission, claim, writes and three polls.

    The measured time includes the fake of D1's binding around SQLite.
    """
    database = _Timed(now_ms=lambda: START_MS)
    store = task_store(Database(database, Meter()))
    keys = asyncio.run(_complete(store, prose, TOGETHER[0], TASKS))

    async def poll() -> None:
        for key in keys * 3:
            await store.task(key)

    asyncio.run(poll())
    database.close()
    return 1_000 * database.spent / TASKS


class _Timed(SqliteD1):
    spent = 0.0  # the seconds of processor time that all batches have taken so far

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        """Run the statements, and add their processor time to `spent`."""
        started = time.process_time()
        try:
            return await super().batch(statements)
        finally:
            self.spent += time.process_time() - started


def used_bytes(database: SqliteD1) -> int:
    """Return the bytes of all pages in use."""
    pragmas = ("page_size", "page_count", "freelist_count")
    size, count, free = (database.rows(f"PRAGMA {name}")[0][name] for name in pragmas)
    assert size == 4_096, "the page size of D1"
    return int(size * (count - free))


async def _complete(store: TaskStore, prose: Prose, together: int, tasks: int) -> list[TaskKey]:
    rng = Random("storage")  # noqa: S311
    keys = []
    for number in range(tasks):
        key = task_key_of("local", new_task_id(START_MS + 1_000 * number, rng.randbytes(10)))
        keys.append(key)
        new = NewTask(
            task_key=key,
            route=Route.QUEUE,
            text=prose(rng, OUTPUT_CHARS) * (CHUNKS * CHUNK_CHARS // OUTPUT_CHARS),
            instructions="Summarise this part in five sentences.",
            cuts=tuple(range(CHUNK_CHARS, CHUNKS * CHUNK_CHARS + 1, CHUNK_CHARS)),
            overlap=0,
            merge_chars=CHUNK_CHARS,
            created_at=START_MS,
            options=TaskOptions(),
        )
        await store.insert(new, 180_000)
        claim = await store.claim(key, holder="h", host="", route=Route.QUEUE, lease_ms=180_000, announce=6)
        assert isinstance(claim, Claim)
        outputs = [
            Output(
                CallKey(0, at), prose(rng, OUTPUT_CHARS), 1, None, START_MS + 5_000 * at, START_MS + 5_000 * at + 4_321
            )
            for at in range(CHUNKS)
        ]
        for progress in _writes(claim, outputs, together):
            last = progress.completed == CHUNKS
            assert await store.step(claim, progress, Finish(RETENTION_MS) if last else Continue(180_000))
    return keys


def _writes(claim: Claim, outputs: Sequence[Output], together: int) -> Iterator[Progress]:
    done = 0
    for step in itertools.count(claim.step + 1):
        now = outputs[done : done + together]
        done += len(now)
        yield Progress(
            step=step,
            outputs=now,
            in_flight=[output.key for output in outputs[done : done + 6]],
            calls_settled=done,
            calls_in_doubt=0,
            calls_minimum=CHUNKS,
            completed=done,
            failed=0,
            input_tokens=1_500 * done,
            output_tokens=250 * done,
            stalls=0,
            rate_waits=0,
        )
        if done == len(outputs):
            return
