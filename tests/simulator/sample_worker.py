"""A small Worker whose jobs count visits. `python -m tests.simulator.sample_worker SEED COUNT`: a digest."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable
from hashlib import blake2b
from typing import Any

from simulator.platform.app import Env, ScheduledController, WorkerContext
from simulator.platform.choices import DIRECT, FREE, TOP
from simulator.platform.object_instance import ObjectContext
from simulator.platform.queues import DeliveredBatch
from simulator.platform.sqlite_database import Template
from simulator.platform.world import ClientError, World
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.errors import ModelError

SCHEMA = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, state TEXT NOT NULL, lease INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE parts (
  job TEXT NOT NULL, part INTEGER NOT NULL, output TEXT NOT NULL, PRIMARY KEY (job, part)
) STRICT, WITHOUT ROWID;
"""
PARTS = 4
LEASE_MS = 60_000
D1_SECONDS = 30


async def answered(call: Awaitable[Any]) -> Any:
    async with asyncio.timeout(D1_SECONDS):
        return await call


class Worker:
    """The handlers of one isolate, which are no example for a real Worker, because they use no fence."""

    def __init__(self, env: Env) -> None:
        self.env = env

    async def fetch(self, request: str, ctx: WorkerContext) -> str:
        db = self.env.DB
        insert = "INSERT INTO jobs (id, state) VALUES (?, 'open') ON CONFLICT DO NOTHING"
        await answered(db.prepare(insert).bind(request).run())
        if self.env.has("AI_QUEUE"):
            await self.env.AI_QUEUE.send({"job": request})
        elif self.env.has("AI_PROCESSOR"):
            await self.env.AI_PROCESSOR.getByName(request).start(request)
        else:
            ctx.waitUntil(self.work(request))
        return request

    async def queue(self, batch: DeliveredBatch, ctx: WorkerContext) -> None:
        for message in batch.messages:
            if isinstance(message.body, dict) and "job" in message.body:
                await self.work(message.body["job"])
            message.ack()

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        rows = await answered(self.env.DB.prepare("SELECT id FROM jobs WHERE state = 'open' LIMIT 20").all())
        for row in rows["results"]:
            ctx.waitUntil(self.work(row["id"]))

    async def work(self, job: str) -> None:
        db = self.env.DB
        claim = (
            "UPDATE jobs SET lease = unixepoch('subsec') * 1000 + ?2"
            " WHERE id = ?1 AND state = 'open' AND lease <= unixepoch('subsec') * 1000 RETURNING id"
        )
        if await answered(db.prepare(claim).bind(job, LEASE_MS).first()) is None:
            return
        done = await answered(db.prepare("SELECT part FROM parts WHERE job = ?").bind(job).all())
        left = set(range(PARTS)) - {row["part"] for row in done["results"]}
        await asyncio.gather(*(self.visit(job, part) for part in sorted(left)))
        whole = "UPDATE jobs SET state = 'done' WHERE id = ?1 AND (SELECT count(*) FROM parts WHERE job = ?1) = ?2"
        await answered(
            db.batch(
                [db.prepare(whole).bind(job, PARTS), db.prepare("UPDATE jobs SET lease = 0 WHERE id = ?1").bind(job)]
            )
        )

    async def visit(self, job: str, part: int) -> None:
        try:
            async with asyncio.timeout(30):
                reply = await self.env.platform.provider.infer(ModelCall("", f"{job}:{part}", "m"))
        except (ModelError, TimeoutError):
            return
        insert = "INSERT INTO parts VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        await answered(self.env.DB.prepare(insert).bind(job, part, reply.output).run())


class Processor:
    """An object that works on a job in its alarm until the job is done."""

    def __init__(self, ctx: ObjectContext, env: Env) -> None:
        self.ctx = ctx
        self.env = env

    async def start(self, job: str) -> None:
        await self.ctx.storage.put("job", job)
        await self.ctx.storage.setAlarm(self.env.platform.now_ms())

    async def alarm(self, info: dict[str, Any]) -> None:
        storage = self.ctx.storage
        storage.sql.exec("CREATE TABLE IF NOT EXISTS runs (n INTEGER)")
        storage.sql.exec("INSERT INTO runs VALUES (1)")
        job = await storage.get("job")
        await storage.setAlarm(self.env.platform.now_ms() + LEASE_MS)
        await Worker(self.env).work(job)
        row = await answered(self.env.DB.prepare("SELECT state FROM jobs WHERE id = ?").bind(job).first("state"))
        if row == "done":
            await storage.deleteAlarm()


class SampleApp:
    """The app that the simulator runs: it makes the Worker and the object."""

    def make_isolate(self, env: Env) -> Worker:
        return Worker(env)

    def make_object(self, class_name: str, ctx: ObjectContext, env: Env) -> Processor:
        return Processor(ctx, env)


async def scenario(world: World) -> int:
    world.start_cron(30)
    accepted = []

    async def client(job: str, wait: float) -> None:
        await asyncio.sleep(wait)
        with contextlib.suppress(ClientError):
            accepted.append(await world.fetch(job))

    clients = [asyncio.ensure_future(client(f"j{at}", at * 0.7)) for at in range(4)]
    await asyncio.sleep(1.5)
    world.deploy(FREE)
    await asyncio.gather(*clients)
    world.restart()
    world.deploy(DIRECT)
    await asyncio.sleep(100)
    world.deploy(TOP)
    world.faults.stop()
    await asyncio.sleep(2_400)  # an absence of the model and a full database may last longer than other faults
    await world.quiet(2000)
    states = dict(world.database.connection.execute("SELECT id, state FROM jobs").fetchall())
    assert all(states[job] == "done" for job in accepted), states
    return len(accepted)


def run_seed(seed: int, template: Template, **options: Any) -> World:
    world = World(seed, SampleApp(), template, **{"faults": "swarm", **options})
    world.run(scenario)
    return world


def main(first: int, count: int) -> str:
    template = Template([SCHEMA])
    digests = [run_seed(seed, template).trace_digest for seed in range(first, first + count)]
    return blake2b("".join(digests).encode(), digest_size=16).hexdigest()


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))
