"""The operators of a run who change prices and tenants' caps, and in the end let all tasks go on."""

import asyncio
from random import Random

from simulator.campaign.clients.clients import Clients
from simulator.campaign.clients.workload import PRICES_MOST, Workload, price_variables
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.world import World
from src.kernel.domain.ids import LOCAL

_MONTH_END_MS = 1_790_812_800_000
_HIGH = 1000
_CAPS = (None, "0.0003", "0.0005", "0.0006", "0.001", "0.003", "1")


class CapOperators:
    """Changes the cap of the only tenant of a world. They do nothing in a run whose caps do not change."""

    def __init__(self, world: World, workload: Workload, clients: Clients) -> None:
        self.are_there = workload.month_turns_at is not None
        self._world = world
        self._workload = workload
        self._clients = clients
        self._rng = Random(f"{world.seed}/caps")
        if workload.month_turns_at is not None:
            world.epoch_ms = _MONTH_END_MS - round(workload.month_turns_at * 1000)

    async def change(self) -> None:
        """While faults last, change the cap and the price at random moments."""
        world, rng = self._world, self._rng
        while self.are_there and world.faults.active:
            await self._set(rng.choice(_CAPS))
            await asyncio.sleep(rng.choice((rng.uniform(0, 5), rng.uniform(5, 60))))
            if rng.random() < 0.2:
                world.variables = world.variables | price_variables(rng.randrange(PRICES_MOST))
                world.deploy(world.deployment)

    async def lift(self) -> None:
        """Set a cap that lets all tasks go on, or remove it, also if a late request has set a lower one."""
        caps = self._world.database.connection.execute("SELECT monthly_most FROM tenant_limits").fetchall()
        if self.are_there and any(cap is not None and cap < _HIGH * 10**9 for (cap,) in caps):
            await self._set(self._rng.choice((None, str(_HIGH))))

    async def _set(self, cap: str | None) -> bool:
        path = f"/api/tenants/{LOCAL}/limits"
        reply = await self._clients.fetch(ClientRequest("PUT", path, lambda: {"monthlyCostMost": cap}))
        return reply is not None and reply.status == 200
