"""The part of a scenario that concerns files and batches: their clients, and the checks of a run with batches."""

from collections.abc import Coroutine
from random import Random
from typing import Any

from simulator.campaign.checks.batches.files import FileChecks
from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.clients.batches.clients import BatchClients
from simulator.campaign.clients.clients import Clients
from simulator.campaign.clients.workload import Workload, is_filed
from simulator.platform.world import World

PAGES_JUDGED = "pages of early results"


class BatchScenario:
    """The batches of one scenario. In a run without batches nothing is done."""

    def __init__(self, world: World, workload: Workload, invariants: Invariants, clients: Clients) -> None:
        self._specs = workload.batches
        self._swept = workload.cron
        self._invariants = invariants
        world.servers.binds_bucket = workload.bucket
        rng = Random(f"{world.seed}/clients of batches")
        self._clients = BatchClients(world, clients, rng, invariants.recorded.lines, invariants.new_tag)
        self._files = FileChecks(world, invariants.judged) if self._specs or is_filed(workload) else None
        if is_filed(workload):
            invariants.endings.texts.watch(world)

    def plays(self) -> list[Coroutine[Any, Any, None]]:
        """Return what the clients of batches do."""
        return [self._clients.play(spec) for spec in self._specs]

    async def all_ended(self) -> None:
        """Once all tasks have ended, wait until all batches have. Raises InvariantBroken."""
        await self._invariants.endings.all_ended()

    async def see_the_end(self) -> None:
        """Let the clients read the rest of their batches' outputs. Raises InvariantBroken."""
        await self._clients.see_the_end()
        self._invariants.judged[PAGES_JUDGED] = sum(reader.pages for reader in self._clients.readers)

    async def all_swept(self) -> None:
        """Wait until no file and no part is left that nothing needs. Raises InvariantBroken."""
        if self._files is not None and self._swept:
            await self._files.all_swept()

    def check(self) -> None:
        """Check each line of each output file. Raises InvariantBroken."""
        self._invariants.endings.check(self._invariants.answers)
