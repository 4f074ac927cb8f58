"""The HTTP layer with a real store in virtual time; each answer must be in `/openapi.json`."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar
from weakref import WeakSet

import httpx
from pydantic import TypeAdapter

from simulator.engine.loop import Loop
from simulator.platform.sqlite_database import Template
from src.composition import CATALOGUE, FIRST_MOST, KINDS, kind_apis, with_features
from src.features import NewTaskFields
from src.features.demo.demo import DemoProvider
from src.features.files.api import content
from src.features.files.blobs.r2 import R2, R2Bucket
from src.features.operate import metrics
from src.kernel.api.base import problems
from src.kernel.api.base.fields import extra_names
from src.kernel.api.base.messages import ON_EVERY_ANSWER, BodyBroken, BodyTooLarge, CutOff, Reply
from src.kernel.api.base.services import Api, BoundRoutes, RequestMemory
from src.kernel.api.router import handle
from src.kernel.calls.protocol import Provider
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import LOCAL, TaskKey, split_task_key, task_key_of
from src.kernel.domain.keys import OWN_SCOPES, Scope, digest, make
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Failure, Mark, Route, is_truncated
from src.kernel.run.log import Log
from src.kernel.store.claims import CallKey, Claim, Continue, Fail, FailedCall, Finish, Next, Output, Progress, Tries
from src.kernel.store.d1 import Database
from src.kernel.store.keys import KeyStore, NewKey
from src.kernel.work.dispatch import Dispatcher, Sender
from src.kernel.work.rescue import Rescue
from src.kernel.work.submission import Submission
from src.kernel.work.sweep.on_request import SweepOnRequest
from src.kernel.work.sweep.resuming import Resuming
from src.kernel.work.worker import Host
from src.objects.audience import Audience
from tests.support.courier import FakeCourier
from tests.support.invocations import new_sweep, new_worker
from tests.support.sqlite_d1 import SqliteD1

START_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
WEBHOOK_KEY = "k" * 32
TEXTS = {"type": "array", "items": {"type": "string"}}  # a schema
ENDPOINT = {"name": "one", "url": "https://hooks.example.com/a", "event_types": ["task.cancelled"]}
QUEUES = BoundRoutes(queue=True, dead_letter_queue=True, objects=True)


@dataclass(slots=True)
class BenchRequest:
    """A request whose body arrives in pieces. `read_bytes` is how many bytes of the body were read."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    read_bytes: int = 0
    chunk_bytes: int = 65_536
    breaks_at: int | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        end = len(self.body) if self.breaks_at is None else self.breaks_at
        for start in range(0, end, self.chunk_bytes):
            await asyncio.sleep(0)
            chunk = self.body[start : min(end, start + self.chunk_bytes)]
            self.read_bytes += len(chunk)
            yield chunk
        if self.breaks_at is not None:
            raise BodyBroken

    async def read(self, most: int) -> bytes:
        taken = b""
        for start in range(0, len(self.body), 65_536):
            await asyncio.sleep(0)
            taken += self.body[start : start + 65_536]
            self.read_bytes = len(taken)
            if len(taken) > most:
                raise BodyTooLarge
        return taken


class BenchSender:
    """Stands in for one route: records the tasks that are sent to it, or refuses them."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.sent: list[str] = []
        self.refuses = False

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        if self.refuses:
            raise RuntimeError("Queue sends are disabled")
        assert delay_seconds == 0
        self.sent.append(split_task_key(task_key)[1])


@dataclass(frozen=True, slots=True)
class SavedBench:
    """A bench's database, its number of made ids, and its time in seconds. Each bench that begins with them is new."""

    template: Template
    made: int
    seconds: float


class ApiBench:
    """One deployment of the API in virtual time, which passes only while code waits. The methods are synchronous.

    Requests need no keys, as under `make dev`, unless `keys` are required. With `looks`, requests check whether cron's
    sweep is missing. With `saved`, the deployment begins with what another bench has stored.
    """

    not_closed: ClassVar["WeakSet[ApiBench]"] = WeakSet()

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        bound: BoundRoutes = QUEUES,
        migrated: bool = True,
        provider: Provider | None = None,
        routes: Sequence[Route] = (Route.QUEUE, Route.DIRECT),
        keys: bool = False,
        looks: bool = False,
        saved: SavedBench | None = None,
    ) -> None:
        self.loop = Loop(max_steps=100_000_000)  # type: ignore[abstract]
        template = None if saved is None else saved.template
        self.database = SqliteD1(migrated=migrated, now_ms=self.now_ms, template=template)
        self.log_lines: list[str] = []
        self.blobs: R2 | None = None  # The binding BLOBS.
        self.senders = [BenchSender(route) for route in routes]
        self.settings = replace(
            settings or Settings(provider="demo", chunk_chars=10, webhook_key=WEBHOOK_KEY), require_keys=keys
        )
        isolate = RequestMemory()
        self.meter = Meter()  # Counts the API's D1 calls and rows.
        database = Database(self.database, self.meter, load=isolate.load, storage=isolate.storage)
        self._keys = KeyStore(database)
        self._made = 0 if saved is None else saved.made
        self._step = 0
        if saved is not None:
            self.pass_seconds(saved.seconds)
        log = Log(self.log_lines.append)
        senders: list[Sender] = list(self.senders)
        dispatcher = Dispatcher(senders, Meter(), log)
        self.audience: Audience | None = None  # Stands in for the callers that wait at a task's object.
        # Tasks whose objects were asked to report changes, each with the mark of the last known write.
        self.asked: list[tuple[TaskKey, Mark]] = []
        # Tasks whose objects were told that the task has ended, each with the fence.
        self.told: list[tuple[TaskKey, int]] = []
        self._behind: list[asyncio.Future[None]] = []  # Work that continues after the API's answers.
        self.courier = FakeCourier()
        worker = new_worker(
            self.database,
            database=database,
            provider=provider or DemoProvider(),
            settings=self.settings,
            nonce=lambda: self._random(12).hex(),
            log=log,
            isolate=isolate,
            courier=self.courier,
            bucket=lambda: None if self.blobs is None else R2Bucket(self.blobs, Meter()),
            wait_until=self._wait_until,
        )
        self.store = worker.store
        self.worker = worker
        others: list[Sender] = [sender for sender in senders if sender.route is not Route.DIRECT]
        self.api = Api(
            invocation=worker,
            settings=self.settings,
            store=self.store,
            keys=self._keys,
            kind_apis=kind_apis,
            isolate=isolate,
            submission=Submission(
                store=self.store,
                dispatcher=dispatcher,
                settings=self.settings,
                now_ms=self.now_ms,
                entropy=self._entropy,
                kinds=KINDS,
                first_most=FIRST_MOST
                and (lambda *asked: FIRST_MOST(self.settings, self.worker.provider.default_model, *asked)),
                meter=Meter(),
                storage=isolate.storage,
                log=log,
                after_answer=self._wait_until,
            ),
            dispatcher=dispatcher,
            rescue=Rescue(worker, Dispatcher(others, Meter(), log) if others else None, dispatcher, self._wait_until),
            sweeps=SweepOnRequest(
                store=self.store,
                heartbeats=isolate.heartbeats,
                asked=lambda: new_sweep(worker, others, seconds=25.0, stands_in=True),
                resuming=lambda: Resuming(worker, dispatcher),
                after_answer=(lambda: new_sweep(worker, others, seconds=0.0)) if looks else None,
                wait_until=self._wait_until,
                log=log,
            ),
            tell_object=self._told,
            hear_object=self._hear,
            provider=provider or DemoProvider(),
            bound=bound,
            now_ms=self.now_ms,
            entropy=self._random,
            meter=Meter(),
            log=log,
        )
        self.not_closed.add(self)

    async def _hear(self, task_key: TaskKey, since: Mark, quiet: float, seconds: float) -> bool | None:
        self.asked.append((task_key, since))
        return None if self.audience is None else await self.audience.hear(since, quiet, seconds)

    async def _told(self, task_key: TaskKey, fence: int) -> None:
        self.told.append((task_key, fence))

    def limit(self, **settings: Any) -> None:
        self.settings = replace(self.settings, **settings)
        invocation = with_features(replace(self.worker, settings=self.settings))
        self.store = invocation.store
        submission = replace(self.api.submission, settings=self.settings, store=self.store)
        self.api = replace(
            self.api, settings=self.settings, submission=submission, invocation=invocation, store=self.store
        )

    def _wait_until(self, work: Awaitable[None]) -> None:
        self._behind.append(asyncio.ensure_future(work))

    def settle(self) -> None:
        behind, self._behind = self._behind, []
        if behind:
            self.run(asyncio.wait(behind))

    def close(self) -> None:
        self.settle()
        self.loop.close()
        self.database.close()
        self.not_closed.discard(self)

    def now_ms(self) -> int:
        return START_MS + round(self.loop.time() * 1000)

    def _entropy(self, size: int) -> bytes:
        self._made += 1
        return self._made.to_bytes(size)

    def _random(self, size: int) -> bytes:
        return hashlib.shake_256(self._entropy(8)).digest(size)

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def pass_seconds(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def send(self, request: BenchRequest) -> Reply:
        reply: Reply = self.run(_whole(request, self.api))
        check_documented(request.method, request.url, reply)
        return reply

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request with JSON or bytes as body, and the id `bench` by default."""
        headers = {"x-request-id": "bench"} | dict(headers or {})
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(BenchRequest(method, f"http://localhost:8787{path}", headers, raw))

    def upload(
        self, content: bytes = b"{}\n", headers: Mapping[str, str] | None = None, *, query: str = "", **fields: str
    ) -> Reply:
        given = {"purpose": "batch"} | fields
        made = httpx.Request("POST", "http://h", files={"file": ("a.jsonl", content)}, data=given)
        sent = {name: made.headers[name] for name in ("content-type", "content-length")}
        return self.call("POST", f"/v1/files{query}", made.read(), sent | dict(headers or {}))

    def make_key(self, *scopes: Scope, tenant: str = "local", valid_ms: int | None = None) -> str:
        parts, text = make(self._random(40))
        new = NewKey(
            id=parts.id,
            tenant=tenant,
            digest=digest(parts.secret),
            scopes=frozenset(scopes or OWN_SCOPES),
            label=None,
            valid_ms=valid_ms,
        )
        assert self.run(self._keys.insert(new)) is not None
        return text

    def save(self) -> SavedBench:
        self.settle()
        return SavedBench(Template([], begun=self.database.snapshot()), self._made, self.loop.time())

    def restart(self) -> None:
        self.api = replace(self.api, isolate=RequestMemory())

    def submit(self, text: str = "one\n\ntwo\n\nthree and four", **fields: object) -> dict[str, Any]:
        reply = self.call("POST", "/api/tasks", {"input": text, **fields})
        assert reply.status == 202, reply
        task = data(reply)
        assert isinstance(task, dict)
        return task

    def count_rows(self) -> int:
        tables = ("tasks", "texts", "segments", "failures", "api_keys")
        return sum(len(self.database.rows(f"SELECT 1 FROM {table}")) for table in tables)  # noqa: S608 - constants

    def claim(self, task_id: str, tenant: str = LOCAL, **said: Any) -> Claim:
        told: dict[str, Any] = {"holder": f"worker {task_id}", "host": "", "route": Route.QUEUE, "lease_ms": 180_000}
        claim = self.run(self.store.claim(task_key_of(tenant, task_id), **(told | said)))
        assert isinstance(claim, Claim)
        return claim

    def work_on(self, task_id: str) -> Any:
        """Let a worker run a task once, and return the task as the API then shows it."""
        self.run(replace(self.worker, meter=Meter()).run(key(task_id), Host(Route.QUEUE, 600.0)))
        self.settle()
        return data(self.call("GET", f"/api/tasks/{task_id}"))

    def finish(self, task_id: str) -> Any:
        for _ in range(20):
            found = self.work_on(task_id)
            if found["terminal"]:
                return found
        raise AssertionError(found)

    def work(
        self, claim: Claim, outputs: Mapping[int, str], step: Next, failed: Failure | None = None, **said: Any
    ) -> None:
        """Write outputs in a step. `failed`: the next chunk fails. `said` is for `Progress` and outputs."""
        at = CallKey(0, len(outputs))
        self._step += 1
        reason = said.pop("finish_reason", None)
        told: dict[str, Any] = {
            "step": self._step,
            "outputs": [Output(CallKey(0, index), text, 1, reason) for index, text in outputs.items()],
            "failures": [FailedCall(at, Tries(3, 4), True, failed)] if failed else [],
            "calls_settled": len(outputs) + (4 if failed else 0),
            "calls_in_doubt": 0,
            "calls_minimum": claim.total,
            "completed": len(outputs),
            "failed": 1 if failed else 0,
            "input_tokens": 10 * len(outputs),
            "output_tokens": len(outputs),
            "stalls": 0,
            "rate_waits": 0,
        }
        progress = Progress(**(told | said))
        assert self.run(self.store.step(claim, progress, step))

    def begin(self, task_id: str, done: int) -> None:
        self.work(self.claim(task_id), {index: f"output {index}" for index in range(done)}, Continue(180_000))

    def complete(self, task_id: str) -> None:
        claim = self.claim(task_id)
        outputs = {index: f"output {index}" for index in range(claim.total)}
        self.work(claim, outputs, Finish(self.settings.retention_ms, keep_name=claim.options.first_line_names))

    def end_with(self, task_id: str, finish_reason: str) -> None:
        told: dict[str, Any] = {"finish_reason": finish_reason, "truncated": int(is_truncated(finish_reason))}
        self.work(self.claim(task_id), {0: "output 0"}, Finish(self.settings.retention_ms), **told)

    def fail(self, task_id: str) -> None:
        failure = Failure(TaskCode.MODEL_UNAVAILABLE, "the model server answered 503", True)
        self.work(self.claim(task_id), {0: "output 0"}, Fail(self.settings.retention_ms, failure), failed=failure)


def key(task_id: str) -> TaskKey:
    return task_key_of(LOCAL, task_id)


def object_of(**properties: object) -> dict[str, Any]:
    """Return the schema of an object with these properties and no other, as strict schemas have it."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def _whole(request: BenchRequest, api: Api) -> Reply:
    """Send a request and return the answer, with its parts joined up to where it is cut off."""
    reply = await handle(request, api, CATALOGUE)
    if reply.content is not None:
        pieces = [piece async for piece in reply.content if isinstance(piece, bytes)]
        # The bench decodes an answer's body so that each byte becomes the character with its number.
        return replace(reply, body=b"".join(pieces).decode("latin-1"), content=None)
    if reply.parts is None:
        return reply
    assert not reply.body
    parts = []
    with suppress(CutOff):
        async for part in reply.parts:
            parts.append(part)  # noqa: PERF401 - those before the cut count
    return replace(reply, body="".join(parts), parts=None)


def data(reply: Reply) -> Any:
    return json.loads(reply.body)


def check_documented(method: str, url: str, reply: Reply) -> None:
    for name, value in ON_EVERY_ANSWER.items():
        assert reply.headers[name] == value
    path = re.sub(r"^[a-z]+://[^/?#]*", "", url).partition("?")[0]
    operation = _operation(method, path)
    if operation is None:
        assert reply.status in {404, 405}, f"{method} {path} is not described, and answered {reply.status}"
        return
    assert str(reply.status) in operation["responses"], f"{method} {path} answers {reply.status}, undescribed"
    described = operation["responses"][str(reply.status)]
    own = set(reply.headers) - {"Content-Type"}
    assert own <= set(described["headers"]), own
    if method == "HEAD" or "content" not in described:
        assert reply.body == ""
        return
    media_type = reply.headers["Content-Type"]
    described_content = described["content"][media_type]
    if media_type == content.MEDIA_TYPE:
        assert described_content["schema"] == {"type": "string", "format": "binary"}
        assert len(reply.body) == int(reply.headers["Content-Length"])
        return
    if media_type == metrics.TEXT:
        assert described_content["schema"] == {"type": "string"}
        return
    if media_type == "text/event-stream":
        assert described_content["schema"]["properties"].keys() == {"event", "id", "data"}
        return
    _check_body(reply.body, described_content["schema"])


def _operation(method: str, path: str) -> dict[str, Any] | None:
    paths: dict[str, Any] = CATALOGUE.document["paths"]
    for template, item in sorted(paths.items(), key=lambda path: "{" in path[0]):
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", template), path):
            operation: dict[str, Any] | None = item.get(method.lower()) if method.isupper() else None
            return operation
    return None


# For each view, the field that it adds to the view that it extends.
FULLER = {"TaskWithChunksView": "chunks", "OperatorServiceView": "backlog", "VerboseServiceView": "usage"} | {
    "ModelView": "provider"
}


def _check_body(body: str, schema: Mapping[str, Any]) -> None:
    if "allOf" in schema:
        narrowed, said = schema["allOf"][1]["properties"], json.loads(body)
        if "error" in narrowed:  # below /v1
            narrowed, said = narrowed["error"]["properties"], said["error"]
        assert said["code"] in narrowed["code"]["enum"]
        schema = schema["allOf"][0]
    names = [reference["$ref"].rpartition("/")[2] for reference in schema.get("anyOf", [schema])]
    for fuller, its_own in FULLER.items():
        if fuller in names:
            names = [name for name in names if (name == fuller) == (its_own in json.loads(body))]
    (name,) = names
    adapter = _adapter(name)
    own = json.dumps(json.loads(body, object_hook=_own))
    shown = adapter.dump_json(adapter.validate_json(own, strict=True))
    assert json.dumps(json.loads(shown)) == own  # each writes small numbers in its own way: 1e-9 and 1e-09


def _own(shown: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the extra fields of a task, which no model of an answer has."""
    extras = extra_names(NewTaskFields) if {"usage", "expiresAt"} <= shown.keys() else ()
    return {name: value for name, value in shown.items() if name not in extras}


_MODELS = {view.__name__: view for view in (problems.ProblemView, problems.ErrorView)} | {
    model.__name__: model for call in CATALOGUE.endpoints for answer in call.answers for model in answer.models
}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_MODELS[name])
