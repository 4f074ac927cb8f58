"""Runs two greedy tenants and a modest one on a database without a bucket, until it is nearly full."""

import asyncio
from random import Random

import pytest

from simulator.campaign.ablations import substitutes
from simulator.campaign.clients import tenants
from simulator.campaign.clients.batches.uploads import form
from simulator.campaign.load.overload import Bystander, submission
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.engine.fault_plan import FaultPlan
from simulator.platform import model
from simulator.platform.choices import TOP
from simulator.platform.world import ClientError, World
from src.kernel.domain import limits
from src.kernel.domain.database_state import MB
from tests.support.tiers import sized

SEEDS = sized(quick=2, test=2, campaign=50)
FILES, TASKS, MODEST = "one", "two", "three"
MOST_MB = 3
OLD = {TASKS: 40, MODEST: 8}  # How many tasks each tenant has that ended two days ago.
RATES = {"d1_failed_before_commit": 0.02, "d1_failed_after_commit": 0.02, "crash_before": 0.01, "crash_after": 0.01}
VARIABLES = {"PLAN": "paid", "REQUIRE_KEYS": "true", "STORAGE_MB_MOST": str(MOST_MB), "AI_MODEL": "m"}
FILE = b"x" * 40_000
DAY_SECONDS = 86_400


class Shares:
    """One schedule: what greedy tenants got in the last part, old results erased, and files kept."""

    def __init__(self, seed: int) -> None:
        plan = FaultPlan(Random(f"{seed}/shares"), RATES)
        self.world = World(
            seed, Onceover(), TEMPLATE, faults=plan, deployment=TOP, variables=VARIABLES, max_steps=10**7
        )
        self.world.app.watcher = Bystander()  # type: ignore[attr-defined]
        self.files = self.tasks = self.kept_files = 0
        self.gone: dict[str, int] = {}
        tenants.install(self.world.database.connection, self.world.now_ms())

    async def run(self, world: World) -> None:
        for tenant, count in OLD.items():
            for number in range(count):
                assert await self._send(_task(tenant, f"{tenant} {number}"), 202)
        world.start_cron(30)
        for _ in range(180):
            await asyncio.sleep(10)
            if not world.database.connection.execute("SELECT 1 FROM tasks WHERE finished_at IS NULL").fetchone():
                break
        world._cron_every = None  # two days of sweeps with nothing to do would take long
        await asyncio.sleep(2 * DAY_SECONDS)
        old = {tenant: self._count(tenant) for tenant in OLD}  # more if an answer was lost
        world.start_cron(30)
        while await self._send(_upload(), 200):
            self.files += 1
        while self._count(TASKS) == old[TASKS] and self.tasks < 300:
            self.tasks += await self._send(_task(TASKS, f"new {self.tasks}"), 202)
            await asyncio.sleep(5)
        await asyncio.sleep(300)
        self.gone = {tenant: count - self._count(tenant) for tenant, count in old.items()}
        query = "SELECT count(*) FROM files WHERE state = 'ready'"
        (self.kept_files,) = world.database.connection.execute(query).fetchone()

    async def _send(self, request: ClientRequest, accepted: int) -> bool:
        while True:
            try:
                reply = await self.world.fetch(request)
            except ClientError:
                reply = None
            if reply is not None and reply.status in {accepted, 507}:
                return bool(reply.status == accepted)
            await asyncio.sleep(1)

    def _count(self, tenant: str) -> int:
        query = "SELECT count(*) FROM tasks WHERE tenant = ? AND status = 'completed' AND created_at < ?"
        old = self.world.database.now_ms() - 1000 * DAY_SECONDS
        return int(self.world.database.connection.execute(query, (tenant, old)).fetchone()[0])


def _task(tenant: str, tag: str) -> ClientRequest:
    made = submission(tag, 1)
    return ClientRequest("POST", "/api/tasks", made.body, tenants.headers(tenant))


def _upload() -> ClientRequest:
    return ClientRequest("POST", "/v1/files", headers=tenants.headers(FILES), upload=form(FILE, "user_data"))


def played(seed: int) -> Shares:
    made = Shares(seed)
    made.world.run(made.run)
    return made


def test_greedy_tenants_cost_a_modest_one_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "output_of", substitutes.long_output)
    for seed in range(SEEDS):
        made = played(seed)
        assert made.gone[MODEST] == 0, seed
        assert made.gone[TASKS] > 0, seed
        assert made.kept_files >= made.files > 0, seed
        assert made.files * len(FILE) <= limits.FILES_FRACTION * MOST_MB * MB, seed
