"""Makes hosts whose tasks may have lanes, and closes the tasks' coordinators."""

import asyncio
from functools import partial

from ..kernel.calls.caller import ModelCaller
from ..kernel.domain import limits
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.meter import Meter
from ..kernel.domain.task import Route
from ..kernel.run.allowance import slice_seconds
from ..kernel.run.log import Log
from ..kernel.store.claims import Claim
from ..kernel.work.worker import Host, Worker
from .laned_caller import laned_caller
from .stubs import Coordinators


class Lanes:
    """The lanes of one host's tasks: none if `coordinators` is None, without objects."""

    def __init__(self, coordinators: Coordinators | None, log: Log) -> None:
        self._coordinators = coordinators
        self._log = log
        self._fences: dict[TaskKey, int] = {}  # for each task with lanes, the fence of the task's last claim

    def host(self, worker: Worker, route: Route, seconds: float, wall_seconds: float) -> Host:
        """Make a host that starts calls for at most `seconds`, and that the platform ends after `wall_seconds`."""
        slack = late = 0.0
        if self._coordinators is not None:
            slack = limits.LANE_SLACK_SECONDS
            # A lane may start calls as long as the database allows it, even after the end of the host's slice.
            late = slack + limits.START_SECONDS_MOST - limits.START_SECONDS
        return Host(
            route,
            slice_seconds(worker.settings, seconds, wall_seconds, late),
            caller_for=partial(self._caller_for, worker),
            slack_seconds=slack,
        )

    def _caller_for(self, worker: Worker, claim: Claim) -> ModelCaller | None:
        caller = None if self._coordinators is None else laned_caller(worker, self._coordinators, claim)
        if caller is not None:
            self._fences[claim.task_key] = claim.fence
        return caller

    async def close(self, task_key: TaskKey, meter: Meter) -> None:
        """Tell the task's coordinator that this host has finished. If that fails, its alarm cleans up."""
        fence = self._fences.pop(task_key, None)
        if fence is None or self._coordinators is None:
            return
        meter.spend()
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._coordinators.getByName(task_key).close(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type
            self._log("close_failed", task=task_key, error=type(error).__name__)
