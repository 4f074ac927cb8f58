"""All checks of tasks with a schema or gaps, for one world that has such tasks."""

import json

from simulator.campaign.checks.formed import Formed
from simulator.campaign.checks.gap_retries import GapRetries
from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.checks.shown import ShownTasks
from simulator.campaign.clients.clients import Clients
from simulator.campaign.clients.menders import check_told
from simulator.platform.world import World
from src.kernel.domain.ids import task_key_of


class FormChecks:
    """The checks at each write and call, and at the end; none before `watch`."""

    def __init__(self, world: World, invariants: Invariants, clients: Clients) -> None:
        self._world = world
        self._invariants = invariants
        self._clients = clients
        self._parts: tuple[Formed, GapRetries, ShownTasks] | None = None

    def watch(self) -> None:
        """Begin to look at writes and calls."""
        formed = Formed(self._world, self._invariants)
        retries = GapRetries(self._world, self._invariants, formed)
        self._parts = formed, retries, ShownTasks(self._invariants, formed, self._clients)

    def is_refused_claim(self, line: str) -> bool:
        """Whether a line of the log says that the database refused an older isolate's claim of a task with a form."""
        told = json.loads(line)
        task_key = task_key_of(told.get("tenant", ""), told.get("task", ""))
        row = self._invariants.rows.get(task_key) or self._invariants.gone.get(task_key)
        return told["error"] == "StoreError" and row is not None and row.structured is not None

    async def look(self) -> None:
        """Read the tasks that have ended, as clients do."""
        if self._parts is not None:
            await self._parts[2].look()

    def check(self) -> None:
        """Check everything once all is quiet. Raises InvariantBroken."""
        if self._parts is not None:
            formed, retries, _ = self._parts
            formed.check()
            retries.check()
            check_told(self._clients, set(self._invariants.tags))
