"""Checks that workers' writes do not mix if the database is set back in time under them, as by D1's Time Travel.

A restored database has lost its later writes, so most promises of other schedules are not checked here. Two promises
are checked: only one claim writes under each fence that the database knows, and each task that the database knows
completes.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import CRON_SECONDS
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest, Watcher
from simulator.campaign.subject.patches import patched
from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken
from simulator.platform.choices import Deployment
from simulator.platform.d1 import PreparedStatement
from simulator.platform.queues import QueueSettings
from simulator.platform.world import ClientError, World
from src.core.ids import TaskKey
from src.store.sql import work

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

type Claims = dict[tuple[TaskKey, int], str]  # By task and fence: the holder that has written under this fence.


class Writers:
    """Records which claim wrote under each fence, as far as the database knows it after restores.

    `twins` counts claims that got the fence of a claim that a restore removed. `refused` counts the writes of removed
    claims that changed nothing.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: Claims = {}
        self._forgotten: Claims = {}
        self.twins = self.refused = 0
        self._under_claim = {getattr(work, name).sql: getattr(work, name).parameters for name in UNDER_CLAIM}
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
        results = self._execute(statements)
        for statement, result in zip(statements, results, strict=True):
            if statement.sql == work.CLAIM.sql and result["results"]:
                named = dict(zip(work.CLAIM.parameters, statement.values, strict=True))
                claim = named["task_key"], int(result["results"][0][0])  # RETURNING fence
                self.twins += self._forgotten.get(claim, named["holder"]) != named["holder"]
                self._write(claim, named["holder"])
            elif statement.sql in self._under_claim:
                named = dict(zip(self._under_claim[statement.sql], statement.values, strict=True))
                claim = named["task_key"], int(named["fence"])
                if result["meta"]["changes"]:
                    self._write(claim, named["holder"])
                else:
                    self.refused += self._forgotten.get(claim) == named["holder"]
        return results

    def _write(self, claim: tuple[TaskKey, int], holder: str) -> None:
        if self._known.setdefault(claim, holder) != holder:
            raise InvariantBroken(f"{claim[0]}: two claims write under fence {claim[1]}")


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
