"""The operators of a run: they make the deployments of the workload, and the faults that only people cause."""

import asyncio
import json
from collections.abc import Callable
from random import Random

from simulator.campaign.clients.clients import Clients
from simulator.campaign.clients.workload import ACTIONS, DEPLOYMENTS, Change, Workload
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.small_limits import variables
from simulator.platform.world import World


class Operators:
    """The operators of one world."""

    def __init__(self, world: World, workload: Workload, rng: Random, clients: Clients) -> None:
        self.interfered = False  # True once an operator has changed the deployment.
        self.resumed = 0  # How many pauses of tasks operators have ended.
        self._world = world
        self._workload = workload
        self._rng = rng
        self._clients = clients

    async def change(self, change: Change) -> None:
        """At the change's moment, deploy another deployment, or restart everything."""
        await asyncio.sleep(change.at)
        self.interfered = True
        self._world.variables = self._variables(change.concurrency)
        if change.restart:
            self._world.deployment = change.deployment
            self._world.restart(lose_queue=change.lose_queue)
        else:
            self._world.deploy(change.deployment, lose_queue=change.lose_queue, kill=change.kill)

    async def act(self, resumes: Callable[[], None]) -> None:
        """Do what operators do while faults last. `resumes` is called before each request to end pauses."""
        await asyncio.gather(self._trouble(), self._resume(resumes))

    async def _resume(self, told: Callable[[], None]) -> None:
        """End the pauses of tasks that wait for the model, now and then twice at the same time."""
        world, rng = self._world, Random(f"{self._world.seed}/resumes")
        while self._workload.resumes and world.faults.active:
            await asyncio.sleep(rng.choice((rng.uniform(1, 10), rng.uniform(20, 120))))
            requests = [ClientRequest("POST", "/api/sweep", lambda: {"resume": True})] * rng.choice((1, 1, 2))
            for _ in requests:
                told()
            for reply in await asyncio.gather(*map(self._clients.fetch, requests)):
                if reply is not None and reply.status == 200:
                    self.resumed += json.loads(reply.body)["resumed"]

    async def _trouble(self) -> None:
        """While faults last, let operators deploy and clients act on tasks at random moments, by the fault rates."""
        world, rng, clients = self._world, self._rng, self._clients
        while world.faults.active:
            await asyncio.sleep(rng.uniform(0.5, 6))
            if world.faults.fires("upgraded", "operator"):
                world.variables = self._variables(rng.choice((1, 3, 6)))
                world.deploy(rng.choice((world.deployment, *DEPLOYMENTS)), kill=rng.random() < 0.5)
            if clients.answered and world.faults.fires("user_raced", "client"):
                task_key = rng.choice(sorted(clients.answered))
                both = [clients.act(rng.choice(ACTIONS[:3]), task_key) for _ in range(rng.choice((1, 1, 2)))]
                await asyncio.gather(*both)

    def _variables(self, concurrency: int = 3) -> dict[str, str]:
        workload = self._workload
        chosen = variables(
            plan=workload.plan,
            concurrency=concurrency,
            retention_days=workload.retention_days,
            keyed=workload.keyed,
        )
        return chosen | workload.variables
