"""Writes the conformance Worker as a project for `--project`, and builds the same Worker for the simulated platform."""

import shutil
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

from simulator.platform.app import Env, ScheduledController, WorkerContext
from simulator.platform.choices import TOP
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import DeliveredBatch, QueueSettings
from simulator.platform.rate_limits import RateLimit
from simulator.platform.sqlite_database import Template
from simulator.platform.world import World
from tests.conformance import worker
from tests.conformance.cases.rate_limits import LIMIT, PERIOD_SECONDS

ROOT = Path(__file__).resolve().parents[2]
BATCH_SIZE = 3
BATCH_SECONDS = 0.2

SCHEMA = """
CREATE TABLE deliveries (run TEXT, id TEXT, entry TEXT);
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE loose (i INTEGER, t TEXT, n NUMERIC);
CREATE TABLE strict_ones (id TEXT PRIMARY KEY, n INTEGER, r REAL, t TEXT) STRICT;
CREATE TABLE checked (
  id TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL CHECK (n > 0), u TEXT UNIQUE, parent TEXT REFERENCES checked (id)
) STRICT;
CREATE TABLE guarded (body TEXT NOT NULL) STRICT;
CREATE TRIGGER guarded_is_short BEFORE INSERT ON guarded WHEN length(NEW.body) > 10
BEGIN SELECT RAISE(ABORT, 'too long; shorten'); END;
CREATE TABLE sightings (body TEXT NOT NULL) STRICT;
CREATE TABLE watched (body TEXT NOT NULL) STRICT;
CREATE TRIGGER watched_is_seen AFTER INSERT ON watched BEGIN INSERT INTO sightings VALUES (NEW.body); END;
CREATE TABLE keyed (k TEXT NOT NULL PRIMARY KEY, v INTEGER NOT NULL, w INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX keyed_by_w ON keyed (w);
CREATE TABLE plain_keyed (k TEXT NOT NULL PRIMARY KEY, v INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE indexed (body TEXT NOT NULL, extra INTEGER NOT NULL) STRICT;
CREATE INDEX indexed_by_body ON indexed (body);
"""

WRANGLER = f"""
name = "conformance"
main = "src/entry.py"
compatibility_date = "2026-09-08"
compatibility_flags = ["python_workers"]

[[d1_databases]]
binding = "DB"
database_name = "conformance"
database_id = "00000000-0000-0000-0000-000000000000"

[[queues.producers]]
binding = "AI_QUEUE"
queue = "ai-processing-queue"

[[queues.producers]]
binding = "AI_DLQ"
queue = "ai-processing-dlq"

[[queues.consumers]]
queue = "ai-processing-queue"
max_batch_size = {BATCH_SIZE}
max_batch_timeout = {BATCH_SECONDS}
max_retries = 2
dead_letter_queue = "ai-processing-dlq"

[[queues.consumers]]
queue = "ai-processing-dlq"
max_batch_size = 1
max_retries = 3

[[r2_buckets]]
binding = "BLOBS"
bucket_name = "conformance"

[[ratelimits]]
name = "RATE_LIMITER"
namespace_id = "1"
simple = {{ limit = {LIMIT}, period = {PERIOD_SECONDS} }}

[[durable_objects.bindings]]
name = "AI_PROCESSOR"
class_name = "AIProcessor"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["AIProcessor"]
"""

ENTRY = '''
"""The conformance Worker: runs the case that the path names."""

from workers import DurableObject, Response, WorkerEntrypoint

from src.platform.crossing import behind
from src.platform.r2 import BoundR2
from tests.conformance import worker


class Env:
    """The SDK's `env`, but for the bucket, which has the Worker's own protocol as on the fakes."""

    def __init__(self, env):
        self._wrapped = env
        self.BLOBS = BoundR2(behind(env).BLOBS)

    def __getattr__(self, name):
        return getattr(self._wrapped, name)


class AIProcessor(DurableObject):
    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        self.actor = worker.Actor(self.ctx, self.env)

    def __getattr__(self, name):
        if name.startswith("_") or name == "actor":
            raise AttributeError(name)
        return getattr(self.actor, name)

    async def alarm(self, info=None):
        await self.actor.alarm(info)


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        name = request.url.rpartition("/")[2]
        return Response("{}" if name == "async-status" else await worker.run(Env(self.env), name))

    async def queue(self, batch, env=None, ctx=None):
        await worker.consume(self.env, batch)
'''


def write_project(folder: Path) -> Path:
    """Write the Worker, with store and cases, into `folder`, and return it."""
    source = folder / "src"
    for part in ("src/kernel", "src/features", "src/platform", "tests/conformance/cases"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests" / "conformance" / "worker.py", source / "tests" / "conformance")
    (source / "entry.py").write_text(dedent(ENTRY))
    (folder / "wrangler.toml").write_text(WRANGLER)
    shutil.copytree(ROOT / "migrations", folder / "migrations")
    (folder / "migrations" / "9000_conformance.sql").write_text(SCHEMA)
    return folder


def make_template() -> Template:
    return Template([*(path.read_text() for path in sorted((ROOT / "migrations").glob("*.sql"))), SCHEMA])


class Conformance:
    """The conformance Worker as an app for the simulated platform."""

    def make_isolate(self, env: Env) -> "_Handlers":
        return _Handlers(env)

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> worker.Actor:
        return worker.Actor(ctx, env)


class _Handlers:
    def __init__(self, env: Env) -> None:
        self._env = env

    async def fetch(self, request: str, ctx: WorkerContext) -> str:
        return await worker.run(self._env, request)

    async def queue(self, batch: DeliveredBatch, ctx: WorkerContext) -> None:
        await worker.consume(self._env, batch)

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        raise AssertionError("no cron here")


def run_on_fakes(name: str, template: Template, *, seed: int = 1, **options: Any) -> str:
    settings = QueueSettings(max_batch_size=BATCH_SIZE, max_batch_seconds=BATCH_SECONDS, max_retries=2, mode="local")
    defaults: dict[str, Any] = {
        "deployment": replace(TOP, bucket=True),
        "queue_settings": settings,
        "slots": 1,
        "scheduling": "fifo",
        "rate_limit": RateLimit(LIMIT, PERIOD_SECONDS),
    }
    world = World(seed, Conformance(), template, **(defaults | options))

    async def scenario(world: World) -> str:
        seen: str = await world.fetch(name)
        return seen

    return world.run(scenario)
