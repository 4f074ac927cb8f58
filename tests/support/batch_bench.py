"""A bench for batches: a database, a bucket and a scripted model, with workers that run and die in virtual time."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from simulator.engine.loop import Loop
from simulator.engine.scope import SCOPE, Gate, InvocationScope
from src.features.batches.lines.lines import CHAT, BatchEndpoint
from src.features.batches.store.batch_files import BatchFileStore
from src.features.batches.store.batches import Batch, BatchStore, NewBatch
from src.features.batches.work.early_lines import EarlyLines, read_lines
from src.features.batches.work.writer import BatchWriter
from src.features.files.blobs import Buffer, StoredPart
from src.features.files.blobs.d1 import MemoryBuffer
from src.features.files.file import FilePart, Purpose, Shelf
from src.features.files.store import FileStore
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.database_state import StorageUse
from src.kernel.domain.errors import BlobMissing, BlobUnavailable
from src.kernel.domain.ids import FileKey, TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import NewTask, Reduce, Route, TaskOptions
from src.kernel.run.context import Released, RunOutcome
from src.kernel.run.log import Log
from src.kernel.store.admission import UNCONDITIONAL, Conditions
from src.kernel.store.claims import Unclaimed
from src.kernel.store.d1 import D1Statement, Database
from src.kernel.store.tasks import TaskStore
from src.kernel.work.worker import Host, Worker
from tests.support.invocations import new_worker, task_store
from tests.support.sqlite_d1 import SqliteD1
from tests.support.store_bench import START_MS

HOST = Host(Route.QUEUE, 600.0)
KEY = TaskKey("local:01900000-0000-7000-8000-000000000001")
INPUT = FileKey("local:01900000-0000-7000-8000-0000000000a1")
OUTPUT = FileKey("local:01900000-0000-7000-8000-0000000000a2")
ERRORS = FileKey("local:01900000-0000-7000-8000-0000000000a3")
WINDOW_MS = 86_400_000


class Points:
    """The points at which a worker may die: before and after each call to the database, the bucket and the model."""

    def __init__(self) -> None:
        self.passed = 0
        self.deaths: set[int] = set()

    async def pass_one(self) -> None:
        """Pass a point. If a death is planned at a point, the invocation that passes the point stops for ever."""
        self.passed += 1
        scope = SCOPE.get()
        if self.passed in self.deaths and scope is not None:
            scope.dead = True
            await asyncio.get_running_loop().create_future()


class PointedD1:
    """A binding to the database, with a point before and after each call at which a worker may die."""

    def __init__(self, database: SqliteD1, points: Points) -> None:
        self._database = database
        self._points = points

    def prepare(self, sql: str) -> D1Statement:
        return self._database.prepare(sql)

    async def batch(self, statements: list[D1Statement]) -> list[Mapping[str, object]]:
        await self._points.pass_one()
        results = await self._database.batch(statements)
        await self._points.pass_one()
        return results


class MemoryBucket:
    """A bucket in memory. `fail(times)` makes the next calls fail; a put that fails may still have taken effect."""

    shelf: Shelf = "r2"

    def __init__(self, points: Points, part_bytes: int) -> None:
        self.part_bytes = part_bytes
        self.parts: dict[tuple[FileKey, str], bytes] = {}
        self.puts = 0
        self._points = points
        self._failing: list[bool] = []

    def fail(self, times: int, *, landed: bool = False) -> None:
        self._failing = [landed] * times

    def buffer(self) -> Buffer:
        return MemoryBuffer(self.part_bytes)

    async def put(self, file: FileKey, name: str, body: bytes | Buffer) -> None:
        await self._points.pass_one()
        content = bytes(body) if isinstance(body, bytes) else bytes(body.content)  # type: ignore[attr-defined]
        landed = self._failing.pop(0) if self._failing else None
        if landed is not False:
            assert self.parts.get((file, name), content) == content, "a name with two contents"
            assert 0 < len(content) <= self.part_bytes
            self.parts[file, name] = content
            self.puts += 1
        if landed is not None:
            raise BlobUnavailable("503")
        await self._points.pass_one()

    async def read(self, file: FileKey, name: str, start: int, end: int) -> bytes:
        await self._points.pass_one()
        if self._failing:
            self._failing.pop(0)
            raise BlobUnavailable("503")
        if (file, name) not in self.parts:
            raise BlobMissing(name)
        return self.parts[file, name][start:end]

    async def open(self, file: FileKey, name: str, size: int) -> bytes:
        return await self.read(file, name, 0, size)

    async def erase(self, file: FileKey) -> bool:
        self.parts = {key: body for key, body in self.parts.items() if key[0] != file}
        return True

    async def erase_parts(self, parts: list[tuple[FileKey, str]]) -> None:
        for key in parts:
            self.parts.pop(key, None)

    async def listed(self, after: str, most: int) -> tuple[list[StoredPart], str]:
        return [], ""


class LineModel:
    """Answers repeat a line's last message. `act` may return an error, or another text."""

    name = "script"
    default_model = "m"

    def __init__(self, points: Points) -> None:
        self.act: Callable[[str, int], Any] = lambda text, number: None
        self.seconds = 1.0
        self.calls: list[str] = []
        self.answered: list[str] = []
        self._points = points

    async def infer(self, call: ModelCall) -> ModelReply:
        text = self.text_of(call)
        self.calls.append(text)
        number = len(self.calls)
        await self._points.pass_one()
        await asyncio.sleep(self.seconds)
        result = self.act(text, number)
        if isinstance(result, Exception):
            raise result
        self.answered.append(text)
        await self._points.pass_one()
        return self.reply(result or f"<{text}>")

    def text_of(self, call: ModelCall) -> str:
        assert call.body is not None
        return str(call.body["messages"][-1]["content"])  # type: ignore[index]

    def reply(self, text: str) -> ModelReply:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
        return ModelReply(text, 10, 5, "stop", answer=answer)

    async def probe(self) -> Health:
        return Health("healthy", "")


def line(custom_id: str, text: str | None = None, **changes: Any) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": text or custom_id}]}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body} | changes)


def lines(count: int, chars: int = 0) -> bytes:
    return "".join(line(f"line-{number}", f"{number} {'x' * chars}".strip()) + "\n" for number in range(count)).encode()


class BatchBench:
    def __init__(self, *, part_bytes: int = 2_000, in_d1: bool = False, **settings: Any) -> None:
        self.loop = Loop(max_steps=50_000_000)  # type: ignore[abstract]
        self.points = Points()
        self.database = SqliteD1(now_ms=lambda: START_MS + round(self.loop.time() * 1000))
        self.bucket = None if in_d1 else MemoryBucket(self.points, part_bytes)
        self.model = LineModel(self.points)
        self.settings = Settings(**{"plan": "paid", "models": ("m",), "model": "m", **settings})
        self.log: list[dict[str, Any]] = []
        self._nonces = 0

    # --- Stores -----------------------------------------------------------------------------------------------

    @property
    def bound(self) -> MemoryBucket:
        """Return the bucket, which must be bound."""
        assert self.bucket is not None
        return self.bucket

    def store(self, meter: Meter | None = None) -> TaskStore:
        return task_store(Database(PointedD1(self.database, self.points), meter or Meter(), storage=StorageUse()))

    def files(self, meter: Meter | None = None) -> FileStore:
        return FileStore(Database(PointedD1(self.database, self.points), meter or Meter()), self.bucket)

    @property
    def rows(self) -> BatchStore:
        return self.store().beside(BatchStore)

    @property
    def lines(self) -> BatchFileStore:
        return self.store().beside(BatchFileStore)

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    # --- A batch ----------------------------------------------------------------------------------------------

    def upload(self, content: bytes, key: FileKey = INPUT, purpose: Purpose = Purpose.BATCH) -> None:
        self.do(self._upload(content, key, purpose))

    async def _upload(self, content: bytes, key: FileKey, purpose: Purpose) -> None:
        files = self.files()
        await files.begin(key, START_MS)
        parts = []
        for number, start in enumerate(range(0, len(content), files.bucket.part_bytes)):
            body = content[start : start + files.bucket.part_bytes]
            await files.bucket.put(key, str(number), body)
            parts.append(FilePart(str(number), len(body)))
        made = await files.ready(key, purpose=purpose, filename="in.jsonl", parts=parts, keeps_ms=None, use_most=10**12)
        assert made is not None

    def submit(
        self, *, endpoint: BatchEndpoint = CHAT, on: Conditions = UNCONDITIONAL, key: TaskKey = KEY, **changes: Any
    ) -> Any:
        terms = {"deadline_ms": WINDOW_MS, **changes}
        output_ms = terms.pop("output_ms", None)
        options = TaskOptions(reduce=Reduce.NONE, **terms)
        task = NewTask(
            task_key=key,
            route=Route.QUEUE,
            text="",
            instructions="",
            cuts=(),
            overlap=0,
            merge_chars=1,
            created_at=START_MS,
            options=options,
        )
        new = NewBatch(
            task=task,
            endpoint=endpoint,
            input_file=INPUT,
            output_file=OUTPUT,
            error_file=ERRORS,
            input_bytes=10,
            output_ms=output_ms,
        )
        return self.do(self.rows.submit(new, self.settings.lease_ms, on))

    def begin(self, content: bytes, **changes: Any) -> None:
        self.upload(content)
        self.submit(**changes)

    def batch(self) -> Batch:
        found = self.do(self.rows.batch(KEY))
        assert found is not None
        return found

    # --- Workers ----------------------------------------------------------------------------------------------

    def worker(self, **fields: Any) -> Worker:
        return new_worker(
            PointedD1(self.database, self.points),
            provider=self.model,
            settings=self.settings,
            nonce=self._nonce,
            log=Log(lambda line: self.log.append(json.loads(line))),
            bucket=lambda: self.bucket,
            **fields,
        )

    def _nonce(self) -> str:
        self._nonces += 1
        return f"holder{self._nonces:02}"

    def run(self, host: Host = HOST) -> RunOutcome:
        return self.do(self.worker().run(KEY, host))

    def run_to_end(self, most: int = 50) -> None:
        for _ in range(most):
            outcome = self.run()
            if isinstance(outcome, Released):
                self.pass_seconds(outcome.delay_seconds)
            elif isinstance(outcome, Unclaimed) and not self.batch().task.status.terminal:
                self.pass_seconds(outcome.left_ms / 1000 + 0.001)
            else:
                break
        self.sweep_to_end()

    def sweep(self) -> bool:
        ended = [
            self.do(BatchWriter(self.worker()).run(key))
            for key in self.do(self.lines.unwritten(10, self.settings.longest_claim_ms))
        ]
        return any(ended)

    def sweep_to_end(self, most: int = 50) -> None:
        for _ in range(most):
            if self.batch().ended_at is not None:
                return
            self.sweep()
            self.pass_seconds(61)
        raise AssertionError("the batch does not end")

    def pass_seconds(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    async def mortal(self, coroutine: Any) -> Any:
        scope = InvocationScope(Gate())
        context = copy_context()
        context.run(SCOPE.set, scope)
        task = asyncio.get_running_loop().create_task(coroutine, context=context)
        while not (task.done() or scope.dead):
            await asyncio.wait([task], timeout=0.5)
        return task.result() if task.done() else None

    # --- What it wrote ----------------------------------------------------------------------------------------

    def content(self, key: FileKey) -> list[dict[str, Any]]:
        raw = self.do(self._content(key))
        assert not raw or raw.endswith(b"\n")
        return [json.loads(one) for one in raw.decode("ascii").splitlines()]

    async def _content(self, key: FileKey) -> bytes:
        files = self.files()
        file = await files.file(key)
        return b"" if file is None else await files.read(file, 0, file.bytes)

    def early(self, offset: int = 0, limit: int | None = None, bytes_most: int = 10**9) -> tuple[EarlyLines, bytes]:
        return self.do(self._early(offset, limit, bytes_most))

    async def _early(self, offset: int, limit: int | None, bytes_most: int) -> tuple[EarlyLines, bytes]:
        batch = await self.rows.batch(KEY)
        assert batch is not None
        found = await read_lines(self.files(), self.lines, batch, offset, limit, bytes_most)
        return found, b"".join([chunk async for chunk in found.chunks])

    def ids(self, key: FileKey) -> list[str]:
        return [one["custom_id"] for one in self.content(key)]

    def check_end(self, ids: Sequence[str]) -> None:
        batch, output, errors = self.batch(), self.ids(OUTPUT), self.ids(ERRORS)
        assert batch.ended_at is not None
        assert sorted([*output, *errors]) == sorted(ids)
        assert (batch.output_lines, batch.error_lines) == (len(output), len(errors))
        assert batch.counts == (len(ids), len(output), len(errors))
        (use,) = self.database.rows("SELECT bytes FROM file_use WHERE tenant = 'local'")
        (sizes,) = self.database.rows("SELECT sum(bytes) AS bytes FROM files WHERE state <> 'erasing'")
        assert use["bytes"] == sizes["bytes"]
        assert not self.database.rows("SELECT 1 FROM segments WHERE object IS NULL")

    def close(self) -> None:
        self.loop.close()
        self.database.close()
