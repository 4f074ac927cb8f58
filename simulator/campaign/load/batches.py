"""Plays a batch of many lines, counts what the account uses for it, and measures how late it makes other tasks.

The input file is stored with the calls of an upload, but without its HTTP request.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from simulator.campaign.clients import tenants
from simulator.campaign.load.brownouts import CONSUMERS, ROUTES
from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.binding_port import Port, Reply
from simulator.platform.d1 import D1Binding
from simulator.platform.invocation_limits import InvocationLimits, Plan, Use
from simulator.platform.queues import QueueSettings
from simulator.platform.r2.bucket import BucketBinding
from simulator.platform.world import World
from src.features.files.api.form import NewFile
from src.features.files.api.upload import Upload
from src.features.files.blobs.r2 import R2Bucket
from src.features.files.file import Purpose
from src.features.files.store import FileStore
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.database_state import DatabaseLoad
from src.kernel.domain.ids import FileKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.run.log import Log
from src.kernel.run.memory import MemoryAllowance
from src.kernel.store.d1 import Database

ENDPOINT = "/v1/chat/completions"
CRON_SECONDS = 60
LOOK_SECONDS = 0.05
WAITS_MOST = 86_400.0
BYTES_OF_LINE = 300  # The bytes of a line of the input file, its end included.
CHARS_OF_ANSWER = 300  # The characters of the content of an answer.
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class BatchLoad:
    """One experiment: a batch of `lines` lines on a route and a plan. `call_seconds` is how long each model call takes.

    `line_bytes` and `answer_chars` are the sizes of each line of the input file and of each answer's content.
    """

    lines: int
    route: str = "queue"
    plan: Plan = "paid"
    call_seconds: tuple[float, float] = (1.0, 1.0)
    line_bytes: int = BYTES_OF_LINE
    answer_chars: int = CHARS_OF_ANSWER
    concurrency: int = 6
    isolates: int = 3
    consumers: int = CONSUMERS


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUse:
    """What the account used for a batch, cron runs included.

    `invocations` are those of the Worker. `calls` counts the calls that left isolates, by their kind. `put_list` and
    `get` are R2's operations of class A and B; deletions are free.
    """

    status: str
    lines: int
    seconds: float
    invocations: int
    cron_runs: int
    database_calls: int
    rows_read: int
    rows_written: int
    put_list: int
    get: int
    queue_operations: int
    object_requests: int
    object_rows_written: int
    object_gb_seconds: float
    subrequests: int
    subrequests_most: int
    statements_most: int
    refused: list[str]
    calls: dict[str, int]
    model_calls: int
    stored: int


class CountingLimits(InvocationLimits):
    """The limits of a plan, which also count the calls of all invocations by their kind."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.calls: Counter[str] = Counter()

    def spend(self, use: Use, label: str, statements: int) -> str | None:
        """Count a call, and refuse it beyond the plan."""
        self.calls[label.rpartition(" ")[2]] += 1
        return super().spend(use, label, statements)


class BatchWorld:
    """A world with two tenants, a bucket and a model that answers lines."""

    def __init__(self, load: BatchLoad, seed: int) -> None:
        self.load = load
        app = Onceover()
        app.watcher = Bystander()
        self.world = World(
            seed,
            app,
            TEMPLATE,
            scheduling="fifo",
            deployment=replace(ROUTES[load.route], bucket=True),
            variables={
                "CHUNK_MAX_CHARS": "10",
                "PLAN": load.plan,
                "AI_CONCURRENCY": str(load.concurrency),
                "AI_MODEL": "m",
                "AI_TIMEOUT_SECONDS": "10",
            },
            queue_settings=QueueSettings(max_concurrency=load.consumers),
            model_seconds=load.call_seconds,
            slots=load.isolates,
            max_steps=400_000_000,
        )
        self.limits = self.world.network.limits = CountingLimits(load.plan)
        self._answer = load.answer_chars * "a"
        self._serve = self.world.model.serve
        self.world.model.serve = self._served  # type: ignore[method-assign]
        tenants.install(self.world.database.connection, self.world.now_ms())

    def _served(self, call: ModelCall, sender: str, reply: Reply) -> None:
        """Answer a line with a whole chat completion, as a provider does. Other calls get the model's own outputs."""
        if call.body is None:
            self._serve(call, sender, reply)
            return

        def answered(value: Any, error: BaseException | None) -> None:
            reply(value if error else value._replace(output="", answer=completion(self._answer)), error)

        self._serve(call, sender, answered)

    async def upload(self, tenant: str, content: bytes) -> str:
        """Store a file of requests, and return its id."""
        world, meter = self.world, Meter()
        port = Port(world._isolate("uploader"), world.network)
        database: Any = D1Binding(world.database, port)  # The protocols demand types of the Worker's own.
        bucket: Any = BucketBinding(world.servers.bucket, port)
        files = FileStore(Database(database, meter), R2Bucket(bucket, meter))
        key = FileKey(f"{tenant}:01900000-0000-7000-8000-{len(world.servers.bucket.objects):012x}")
        settings, log = Settings(), Log(lambda _line: None)
        upload = Upload(files, key, world.now_ms(), settings, DatabaseLoad(), log, MemoryAllowance())
        await upload.take_memory(None)
        await upload.add(content)
        return (await upload.finish(NewFile(Purpose.BATCH, "lines.jsonl", None))).id

    async def start(self, tenant: str, file_id: str) -> str:
        """Start a batch over a file, and return the key of the batch's task."""
        body = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        reply = await self.world.fetch(ClientRequest("POST", "/v1/batches", lambda: body, tenants.headers(tenant)))
        made: dict[str, Any] = json.loads(reply.body)
        assert reply.status == 200, made
        return f"{tenant}:{made['onceover']['task'].rpartition('/')[2]}"

    def state(self, task_key: str) -> tuple[int, int, int | None, int | None]:
        """Return how many bytes of the input are checked, how many lines are done, and when task and batch ended."""
        query = """SELECT read_bytes, completed, finished_at, ended_at FROM tasks JOIN batches ON task_id = id
            WHERE id = ?"""
        (row,) = self.world.database.connection.execute(query, (task_key,))
        found: tuple[int, int, int | None, int | None] = row
        return found

    async def ended(self, task_key: str) -> float:
        """Wait until a batch has ended, and return when (virtual seconds)."""
        for _ in range(int(WAITS_MOST / LOOK_SECONDS)):
            if self.state(task_key)[3] is not None:
                break
            await asyncio.sleep(LOOK_SECONDS)
        return self.world.loop.now()


def lines(load: BatchLoad) -> bytes:
    """Return the input file of a load, in which each line has the load's `line_bytes`."""
    made = []
    for number in range(load.lines):
        content = f"Text {number} "
        line = json.dumps(_line(number, content))
        made.append(json.dumps(_line(number, content + "x" * (load.line_bytes - len(line) - 1))))
    return "".join(f"{line}\n" for line in made).encode()


def _line(number: int, content: str) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    return {"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT, "body": body}


def completion(content: str) -> dict[str, Any]:
    """Return a chat completion with this content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 60, "completion_tokens": 75, "total_tokens": 135}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def used(load: BatchLoad, seed: int = 0) -> BatchUse:
    """Play a batch to its end and count what the account uses."""
    made = BatchWorld(load, seed)
    return made.world.run(lambda world: _used(made))


async def _erase(world: World, task: str, file_id: str) -> None:
    """Delete a batch and its input, and wait until nothing of their files is left."""
    tenant, _, task_id = task.partition(":")
    await asyncio.sleep(3 * CRON_SECONDS)  # until a sweep has added the task to the sums
    for path in (f"/api/tasks/{task_id}", f"/v1/files/{file_id}"):
        reply = await world.fetch(ClientRequest("DELETE", path, None, tenants.headers(tenant)))
        assert reply.status in {200, 204}, reply.body
    await asyncio.sleep(3 * CRON_SECONDS)
    assert not world.servers.bucket.objects
    assert not world.database.connection.execute("SELECT 1 FROM files").fetchall()


async def _used(made: BatchWorld) -> BatchUse:
    world, load = made.world, made.load
    world.start_cron(CRON_SECONDS)
    tenant = tenants.TENANTS[0]
    file_id = await made.upload(tenant, lines(load))
    task = await made.start(tenant, file_id)
    seconds = await made.ended(task)
    (status,) = world.database.connection.execute("SELECT status FROM tasks WHERE id = ?", (task,)).fetchone()
    stored = sum(len(one.body) for one in world.servers.bucket.objects.values())
    await _erase(world, task, file_id)
    database, bucket, calls = world.database, world.servers.bucket, made.limits.calls
    cells = list(world.servers.object_cells())
    rpc = sum(count for label, count in calls.items() if label.startswith("rpc."))
    return BatchUse(
        status=status,
        lines=load.lines,
        seconds=seconds,
        invocations=world.invocations_started,
        cron_runs=int(world.loop.now() // CRON_SECONDS),
        database_calls=database.calls,
        rows_read=database.rows_read,
        rows_written=database.rows_written,
        put_list=bucket.operations["put"] + bucket.operations["list"],
        get=bucket.operations["get"],
        queue_operations=world.queue.counts.operations + world.dlq.counts.operations,
        object_requests=rpc + sum(cell.alarm.fired for cell in cells),
        object_rows_written=sum(cell.data.rows_written for cell in cells),
        object_gb_seconds=0.128 * sum(cell.active_seconds for cell in cells),
        subrequests=sum(calls.values()),
        subrequests_most=made.limits.most.subrequests,
        statements_most=made.limits.most.statements,
        refused=made.limits.refused,
        calls=dict(calls),
        model_calls=len(world.model.records),
        stored=stored,
    )
