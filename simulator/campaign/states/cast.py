"""The programs that act in a search: workers, a sweep, clients. Each is the Worker's own code with its own memory."""

from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

from simulator.campaign.clients.batches import specs
from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.states.programs import START_MS, Program, Stage
from simulator.campaign.subject.small_limits import variables
from src.composition import duties, with_features
from src.features.batches.store.batches import BatchStore, NewBatch
from src.features.files.file import FilePart, Purpose
from src.features.files.store import file_store
from src.kernel.api.base.problems import Refusal
from src.kernel.api.tasks import withdrawal
from src.kernel.domain import settings
from src.kernel.domain.errors import StoreError
from src.kernel.domain.ids import LOCAL, FileKey, TaskKey, new_task_id, task_key_of
from src.kernel.domain.marks import Marks
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import NewTask, Reduce, Route, TaskOptions
from src.kernel.run.context import Released
from src.kernel.run.invocation import Memory
from src.kernel.run.log import Log
from src.kernel.store.d1 import Database
from src.kernel.store.seen import Seen
from src.kernel.work.sweep.sweep import Sweep
from src.kernel.work.worker import Host, Worker
from src.queue.dead_letter import FAILURE

TASK, _INPUT, _OUTPUT, _ERRORS = (
    task_key_of(LOCAL, new_task_id(START_MS, bytes([number] * 10))) for number in (1, 2, 3, 4)
)
CHUNK = 10
SENT = "sent"
type Act = Literal["cancel", "retry", "delete", "bury"]


@cache
def _settings(concurrency: int) -> settings.Settings:
    return settings.load(variables(concurrency=concurrency).get)


class _Said(Log):
    """A log that writes no JSON, because most of it is never read."""

    def __init__(self, stage: Stage, facts: dict[str, object]) -> None:
        self._stage = stage
        self._facts = facts

    def bind(self, **facts: object) -> "Log":
        return _Said(self._stage, self._facts | facts)

    def __call__(self, event: str, **facts: object) -> None:
        self._stage.say(event, self._facts | facts)


def _log(stage: Stage) -> Log:
    return _Said(stage, {})


def _worker(stage: Stage, name: str, concurrency: int) -> Worker:
    meter = Meter()
    worker = Worker(
        database=Database(stage, meter),  # type: ignore[arg-type]
        settings=_settings(concurrency),
        meter=meter,
        chance=lambda: 0.5,
        nonce=lambda: name,
        log=_log(stage),
        isolate=Memory(),
        courier=SimpleNamespace(),
        bucket=lambda: None,
        wait_until=lambda work: None,
        provider=stage,
    )
    return with_features(worker)


async def _prepare(stage: Stage) -> Worker:
    """Let sweep and queue come once before the search, so that no sweep and no claim of the search need note it."""
    acting = _worker(stage, "submission", 1)
    await acting.store.take_permit(Seen.QUEUE, 0)
    await Sweep(acting, [_Messages(stage)], duties(acting)).run()
    return acting


def batch(lines: int) -> Program:
    """Return the program that uploads a file with this many lines and starts a batch over it."""
    content = specs.content(BatchSpec(at=0, lines=lines), "do")

    async def submit(stage: Stage) -> str:
        acting = await _prepare(stage)
        key = FileKey(_INPUT)
        files = file_store(acting)
        await files.begin(key, START_MS)
        await files.bucket.put(key, "part", content)
        parts = [FilePart("part", len(content))]
        await files.ready(key, purpose=Purpose.BATCH, filename="x", parts=parts, keeps_ms=None, use_most=10**9)
        task = NewTask(
            task_key=TASK,
            route=Route.QUEUE,
            text="",
            instructions="",
            cuts=(),
            overlap=0,
            merge_chars=70,
            created_at=START_MS,
            options=TaskOptions(reduce=Reduce.NONE, deadline_ms=86_400_000),
        )
        new = NewBatch(
            task=task,
            endpoint="/v1/chat/completions",
            input_file=key,
            output_file=FileKey(_OUTPUT),
            error_file=FileKey(_ERRORS),
            input_bytes=len(content),
        )
        await acting.store.beside(BatchStore).submit(new, acting.settings.lease_ms)
        return "accepted"

    return submit


def submission(chunks: int, reduce: str, **terms: int) -> Program:
    """Return the program that writes the task. `terms` are further options of the task."""

    async def submit(stage: Stage) -> str:
        new = NewTask(
            task_key=TASK,
            route=Route.QUEUE,
            text="".join(chr(ord("a") + place) * CHUNK for place in range(chunks)),
            instructions="do",
            cuts=tuple(range(CHUNK, chunks * CHUNK + 1, CHUNK)),
            overlap=0,
            merge_chars=70,
            created_at=START_MS,
            options=TaskOptions(reduce=Reduce(reduce), **terms),  # type: ignore[arg-type]
        )
        acting = await _prepare(stage)
        await acting.store.insert(new, acting.settings.lease_ms)
        return "accepted"

    return submit


def worker(name: str, concurrency: int, route: Route, host: str = "", seconds: float = 600.0) -> Program:
    """Return the program of a host that got the task's message: one run, which may start calls for `seconds`."""

    async def work(stage: Stage) -> str:
        acting = _worker(stage, name, concurrency)
        try:
            outcome = await acting.run(TASK, Host(route, seconds, name=host))
        except StoreError as error:
            return f"gave up: {error.code}"
        if isinstance(outcome, Released):
            stage.said.append(SENT)
        return type(outcome).__name__.lower()

    return work


class _Messages:
    """A route whose messages are taken and may come at any time, because workers may start at any time."""

    route = Route.QUEUE

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self._stage.said.append(SENT)


def sweep() -> Program:
    """Return the program of one sweep, on the queue's route."""

    async def run(stage: Stage) -> str:
        acting = _worker(stage, "sweep", 1)
        try:
            await Sweep(acting, [_Messages(stage)], duties(acting)).run()
        except StoreError as error:
            return f"gave up: {error.code}"
        return "swept"

    return run


def client(*acts: Act) -> Program:
    """Return the program of a client who does some things one after the other.

    `bury` is what the consumer of the dead-letter queue does for the task's message.
    """

    async def act(stage: Stage) -> str:
        stage.patience_seconds = 0.0  # The client's answer waits until time has really passed.
        acting = _worker(stage, "client", 1)
        store, log = acting.store, _log(stage)
        api: Any = SimpleNamespace(
            store=store, settings=acting.settings, isolate=SimpleNamespace(marks=Marks()), log=log, tell_object=_tell
        )
        for what in acts:
            try:
                if what == "cancel":
                    _, task = await withdrawal.ended_by_client(api, TASK, stage.loop.time())
                    stage.said.append(f"answered {task.status}")
                elif what == "delete":
                    await withdrawal.erase_task(api, TASK)
                    stage.said.append("answered deleted")
                elif what == "bury":
                    await store.dead_letter(TASK, FAILURE, acting.settings.retention_ms)
                elif await store.retry(TASK, acting.settings.lease_ms) is not None:
                    stage.said.append("answered retried")
            except (StoreError, Refusal) as error:
                return f"refused: {error}"
        return "done"

    return act


async def _tell(_task_key: TaskKey, _fence: int) -> None:
    """Do nothing: no program here is an object that hears of its task's end."""
