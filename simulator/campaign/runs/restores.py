"""Checks that workers' writes do not mix if the database is set back in time under them, as by D1's Time Travel.

A restored database has lost its later writes, so most promises of other schedules are not checked here. Two promises
are checked: only one claim writes under each fence that the database knows, and each task that the database knows
completes. The same holds for the writers that complete the files of batches.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from simulator.campaign.clients.batches.batch_spec import BatchSpec
from simulator.campaign.clients.batches.specs import content, request
from simulator.campaign.clients.batches.uploads import form, upload
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import CRON_SECONDS
from simulator.campaign.subject import small_batches
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest, Watcher
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken
from simulator.platform.choices import Deployment
from simulator.platform.d1 import PreparedStatement
from simulator.platform.queues import QueueSettings
from simulator.platform.world import ClientError, World
from src.features.batches.store import batch_files
from src.kernel.api.base.messages import Reply
from src.kernel.domain.ids import TaskKey
from src.kernel.store import work_statements

TASKS, CHUNKS = 4, 12
END_SECONDS_MOST = 7_200
VARIABLES = {
    "CHUNK_MAX_CHARS": "10",
    "REQUIRE_KEYS": "false",
    "PLAN": "paid",
    "AI_TIMEOUT_SECONDS": "20",
    "LEASE_SECONDS": "30",
    "AI_CONCURRENCY": "2",
}

FAULTS = {
    "duplicate_delivery": 0.1,
    "message_lost": 0.05,
    "send_failed": 0.05,
    "crash_before": 0.005,
    "crash_after": 0.005,
    "worker_frozen": 0.01,
    "d1_failed_after_commit": 0.02,
    "d1_lands_later": 0.02,
    "d1_answers_late": 0.05,
}

# Writers of a batch's files work slowly enough to be caught at work.
FAULTS_OF_WRITERS = {"d1_slow": 0.3}

# The statements by which a writer of a batch's files writes.
BY_WRITERS = (
    "MOVE",
    "HOLD_BATCH",
    "ADD_ERRORS",
    "WRITTEN",
    "DROP_EMPTY",
    "CLOSE_FILES",
    "DROP_SLICES",
    "COMPLETE_BATCH",
)

type Claims = dict[tuple[str, int], str]  # By task or files, and fence: the holder that has written under this fence.


class Writers:
    """Records which claim wrote under each fence, as far as the database knows it after restores.

    `twins` counts claims that got the fence of a claim that a restore removed. `refused` counts the writes of removed
    claims that changed nothing. Writers of a batch's files have claims and fences of their own. `before_take` is the
    content of the database before the last writer took a batch, None if none has since it was last set to None.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: Claims = {}
        self._forgotten: Claims = {}
        self.twins = self.refused = 0
        self.before_take: tuple[bytes, Claims] | None = None
        fenced = [getattr(work_statements, name) for name in UNDER_CLAIM]
        by_writers = [getattr(batch_files, name) for name in BY_WRITERS]
        fenced += [part for one in by_writers for part in (one if isinstance(one, tuple) else (one,))]
        self._fenced = {one.sql: one.parameters for one in fenced}
        self._execute = world.database.execute
        world.database.execute = self._executed  # type: ignore[method-assign]

    def snapshot(self) -> tuple[bytes, Claims]:
        """Return the present content of the database, and the claims that have written to it."""
        return self._world.database.connection.serialize(), dict(self._known)

    def restore(self, snapshot: tuple[bytes, Claims]) -> None:
        """Set the database's content back to a snapshot. The clock of the database is not set back."""
        content, known = snapshot
        self._forgotten |= {claim: holder for claim, holder in self._known.items() if known.get(claim) != holder}
        self._known = dict(known)
        with sqlite3.connect(":memory:") as taken:
            taken.deserialize(content)
            taken.backup(self._world.database.connection)
        taken.close()

    def _executed(self, statements: Sequence[PreparedStatement]) -> list[dict[str, Any]]:
        takes = statements[0].sql == batch_files.TAKE_BATCH.sql
        before = self.snapshot() if takes else None
        results = self._execute(statements)
        for statement, result in zip(statements, results, strict=True):
            if statement.sql == work_statements.CLAIM.sql and result["results"]:
                named = dict(zip(work_statements.CLAIM.parameters, statement.values, strict=True))
                self._claimed((named["task_key"], int(result["results"][0][0])), named["holder"])  # RETURNING fence
            elif statement.sql == batch_files.TAKE_BATCH.sql and result["results"]:
                named = dict(zip(batch_files.TAKE_BATCH.parameters, statement.values, strict=True))
                self._claimed((_files_of(named["task_key"]), self._writer_fence(named["task_key"])), named["writer"])
                self.before_take = before
            elif statement.sql in self._fenced:
                named = dict(zip(self._fenced[statement.sql], statement.values, strict=True))
                if "writer" in named:
                    claim, holder = (_files_of(named["task_key"]), int(named["writer_fence"])), named["writer"]
                else:
                    claim, holder = (named["task_key"], int(named["fence"])), named["holder"]
                if result["meta"]["changes"]:
                    self._write(claim, holder)
                else:
                    self.refused += self._forgotten.get(claim) == holder
        return results

    def _writer_fence(self, task_key: TaskKey) -> int:
        query = "SELECT writer_fence FROM batches WHERE task_id = ?"
        return int(self._world.database.connection.execute(query, (task_key,)).fetchone()[0])

    def _claimed(self, claim: tuple[str, int], holder: str) -> None:
        self.twins += self._forgotten.get(claim, holder) != holder
        self._write(claim, holder)

    def _write(self, claim: tuple[str, int], holder: str) -> None:
        if self._known.setdefault(claim, holder) != holder:
            raise InvariantBroken(f"{claim[0]}: two claims write under fence {claim[1]}")


def _files_of(task_key: TaskKey) -> str:
    return f"files of {task_key}"


def restored(seed: int, deployment: Deployment, watcher: Watcher, *, faults: bool = False) -> Writers:
    """Set the database back twice, each time by up to a minute, while workers work on tasks. Raises InvariantBroken.

    With `faults`, workers die or stand still, and the database loses answers; each task must then end, but need not
    complete.
    """
    rng, app = Random(f"restore/{seed}"), Onceover()
    app.watcher = watcher
    world = World(
        seed,
        app,
        TEMPLATE,
        faults=FAULTS if faults else "none",
        deployment=deployment,
        variables=VARIABLES,
        model_seconds=(4.0, 18.0),
        slots=4,
        queue_settings=QueueSettings(max_concurrency=50),
        max_steps=20_000_000,
    )
    writers = Writers(world)
    texts = ["".join(f"w{at:03d} {number:03d}. " for at in range(CHUNKS)) for number in range(TASKS)]

    async def scenario(world: World) -> None:
        world.start_cron(CRON_SECONDS)
        for text in texts:
            with suppress(ClientError):  # If the answer to the submission is lost, the task may exist.
                await world.fetch(_submission(text))
        for after in (0.3, 20.0):
            await asyncio.sleep(rng.uniform(0.0, after))
            before = writers.snapshot()
            await asyncio.sleep(rng.uniform(5.0, 60.0))
            writers.restore(before)
            world.tick()  # The sweep of this cron tick sends unfinished tasks off again.
        world.faults.stop()
        await _all_ended(world, "status IN ('pending', 'processing')" if faults else "status <> 'completed'")

    # With the logger disabled, errors that the Worker catches print no tracebacks.
    with patched([(logging.getLogger("onceover"), "disabled", True)]):
        world.run(scenario)
    return writers


def restored_files(seed: int, deployment: Deployment, watcher: Watcher) -> Writers:
    """Set the database back while writers complete the files of batches, to before a writer has taken its batch.

    Each batch must then end. Raises InvariantBroken.
    """
    rng, app = Random(f"restore files/{seed}"), Onceover()
    app.watcher = watcher
    world = World(
        seed,
        app,
        TEMPLATE,
        faults=FAULTS_OF_WRITERS,
        deployment=deployment,
        variables=VARIABLES,
        model_seconds=(1.0, 4.0),
        max_steps=20_000_000,
    )
    world.servers.binds_bucket = True
    writers = Writers(world)

    async def fetch(asked: ClientRequest) -> Reply | None:
        with suppress(ClientError):
            found: Reply = await world.fetch(asked)
            return found
        return None

    async def batch(spec: BatchSpec, tag: str) -> None:
        """Start a batch, and cancel it half-way, so that both of its files have lines."""
        file_id = await upload(fetch, {}, form(content(spec, tag), "batch"))
        if file_id is None:
            return
        wish = request(spec, file_id, tag)
        started = await fetch(ClientRequest("POST", "/v1/batches", lambda: wish))
        if started is not None and started.status == 200:
            await asyncio.sleep(rng.uniform(10, 40))
            await fetch(ClientRequest("POST", f"/v1/batches/{json.loads(started.body)['id']}/cancel"))

    async def scenario(world: World) -> None:
        world.start_cron(CRON_SECONDS)
        going = [asyncio.ensure_future(batch(BatchSpec(0, 20), f"restored-{number}")) for number in range(2)]
        for _ in range(2):
            for _ in range(600):
                if writers.before_take is not None:
                    break
                await asyncio.sleep(0.5)
            await asyncio.sleep(rng.uniform(0.0, 10.0))
            if writers.before_take is not None:
                writers.restore(writers.before_take)
                writers.before_take = None
            world.tick()  # The sweep of this cron tick gives the batch to another writer.
        await asyncio.gather(*going)
        world.faults.stop()
        await _all_ended(world, "id IN (SELECT task_id FROM batches WHERE ended_at IS NULL)")

    with patched([(logging.getLogger("onceover"), "disabled", True), *small_batches.patches()]):
        world.run(scenario)
    return writers


def _submission(text: str) -> ClientRequest:
    return ClientRequest("POST", "/api/tasks", lambda: {"input": text})


async def _all_ended(world: World, going_on: str) -> None:
    """Wait until no task fulfils the SQL condition `going_on`. Raises InvariantBroken after `END_SECONDS_MOST`."""
    deadline = world.loop.now() + END_SECONDS_MOST
    query = f"SELECT id, status FROM tasks WHERE {going_on}"  # noqa: S608 - constants
    while left := world.database.connection.execute(query).fetchall():
        if world.loop.now() > deadline:
            raise InvariantBroken(f"{left[0][0]} is {left[0][1]} {END_SECONDS_MOST} s after the database was set back")
        await asyncio.sleep(5)
