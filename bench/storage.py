"""What a completed task leaves in D1, in bytes and rows: 20 chunks of 6,000 characters, outputs of 1,000.

Tasks go through the store over SQLite with D1's page size. Outputs are drawn from a seed, pieces of prose. English
ones are of this project's documents. Chinese ones are made of words that are as frequent as Zipf's law has them, since
no Chinese text here is long enough to give 20 outputs that share nothing. Six of them together compress to 1,430 bytes
each, one alone to 1,660. A book of Chinese essays of 1.5 million characters, cut up alike, takes 1,410 and 1,600.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

from bench.figures import Figure
from src.core.ids import new_task_id, task_key_of
from src.core.meter import Meter
from src.core.task import NewTask, Route, TaskOptions
from src.store.claims import CallKey, Claim, Continue, Finish, Output, Progress
from src.store.database import Database
from src.store.tasks import TaskStore
from tests.support.sqlite_d1 import SqliteD1

TASKS = 200
CHUNKS = 20
CHUNK_CHARS = 6_000
OUTPUT_CHARS = 1_000
START_MS = 1_800_000_000_000
RETENTION_MS = 2_592_000_000
# How many outputs a write holds: calls that end six at a time, and calls that end one by one.
TOGETHER = (6, 1)
DOCUMENTS = sorted((Path(__file__).resolve().parents[1] / "docs").rglob("*.md"))
BYTES_MOST = {"English": 20_000, "Chinese": 40_000}

type Prose = Callable[[Random, int], str]


def english(rng: Random, length: int) -> str:
    """Give a piece of the project's own documents."""
    text = _documents()
    first = rng.randrange(len(text) - length)
    return text[first : first + length]


def chinese(rng: Random, length: int) -> str:
    """Give words of one to three characters, with a mark behind each fifth."""
    words, weights = _chinese_words()
    drawn = rng.choices(words, weights, k=length)
    return "".join(word + ("，" if at % 5 == 4 else "") for at, word in enumerate(drawn))[:length]


def measure() -> list[Figure]:
    """Measure both languages, with outputs that are recorded together and one by one."""
    figures: list[Figure] = []
    for name, prose in (("English", english), ("Chinese", chinese)):
        for together in TOGETHER:
            size, rows = task_cost(prose, together)
            how = f"20 outputs of 1,000 characters, {name}, {together} a write"
            most = BYTES_MOST[name] if together == TOGETHER[0] else None
            figures.append(Figure(f"{how}: D1 bytes", size, "bytes", most))
            figures.append(Figure(f"{how}: D1 rows written", rows, "rows", 20 if most else None))
    return figures


def task_cost(prose: Prose, together: int, tasks: int = TASKS) -> tuple[float, float]:
    """Complete so many tasks; return what each leaves in bytes of pages in use, and the rows that it wrote."""
    database = SqliteD1(now_ms=lambda: START_MS)
    meter = Meter()
    store = TaskStore(Database(database, meter))
    empty = used_bytes(database)
    asyncio.run(_complete(store, prose, together, tasks))
    size = used_bytes(database) - empty
    database.close()
    return size / tasks, meter.rows_written / tasks


def used_bytes(database: SqliteD1) -> int:
    """The bytes of all pages that hold something."""
    pragmas = ("page_size", "page_count", "freelist_count")
    size, count, free = (database.rows(f"PRAGMA {name}")[0][name] for name in pragmas)
    assert size == 4_096, "the page size of D1"
    return int(size * (count - free))


async def _complete(store: TaskStore, prose: Prose, together: int, tasks: int) -> None:
    rng = Random("storage")  # noqa: S311
    for number in range(tasks):
        key = task_key_of("local", new_task_id(START_MS + 1_000 * number, rng.randbytes(10)))
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


@cache
def _documents() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


@cache
def _chinese_words() -> tuple[list[str], list[float]]:
    rng = Random("words")  # noqa: S311
    characters = [chr(0x4E00 + 5 * rank) for rank in range(3_000)]
    frequencies = [1 / (rank + 12) for rank in range(3_000)]
    words = ["".join(rng.choices(characters, frequencies, k=rng.choice((1, 2, 2, 2, 3)))) for _ in range(10_000)]
    return words, [1 / (rank + 3) for rank in range(10_000)]
