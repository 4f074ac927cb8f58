"""Ends the pauses of tasks that wait for a model. One calls each model, and if it answers the others go on."""

import asyncio
from itertools import batched
from typing import NamedTuple

from ...calls import clock
from ...domain import limits
from ...store.absence import AbsenceStore, PausedTask
from ..dispatch import Dispatcher
from ..worker import Worker


class ProbedModel(NamedTuple):
    """A model that was called once, and whether it answered; None if that is not known yet."""

    model: str
    answered: bool | None


class Resuming:
    """Ends pauses once. If it dies, what is due is sent by the next sweep, and the others wait on."""

    def __init__(self, worker: Worker, dispatcher: Dispatcher) -> None:
        self._worker = worker
        self._store = worker.store.beside(AbsenceStore)
        self._dispatcher = dispatcher
        self._paused: dict[str, list[PausedTask]] = {}  # By model.
        self._answered: dict[str, bool] = {}  # By model.
        self.resumed = 0  # How many tasks go on, those that called their models included.

    @property
    def probed(self) -> list[ProbedModel]:
        """The models for which tasks waited."""
        return [ProbedModel(model, self._answered.get(model)) for model in self._paused]

    async def run(self) -> None:
        """Let each model be called once, and let its other tasks go on if it answers. Raises StoreError."""
        model = self._worker.settings.model or self._worker.provider.default_model
        for task in await self._store.paused(model, limits.RESUMED_TASKS_MOST):
            self._paused.setdefault(task.model, []).append(task)
        ends_at = clock.now() + limits.RESUME_SECONDS
        # On the direct route the probes run in this invocation, which has few connections.
        for some in batched(list(self._paused.values()), limits.PROBES_AT_ONCE_MOST):
            await self._probe([tasks[0] for tasks in some], ends_at)

    async def _probe(self, probes: list[PausedTask], ends_at: float) -> None:
        self.resumed += await self._store.end_pauses([probe.task_key for probe in probes])
        for probe in probes:
            await self._dispatcher.dispatch(probe.task_key)
        pause = limits.PROBE_LOOK_SECONDS
        while probes and clock.now() + pause < ends_at and self._worker.can_afford_run:
            await asyncio.sleep(pause)
            pause = min(limits.PROBE_LOOK_SECONDS_MOST, 2 * pause)
            answers = await self._store.answers(probes)
            others = [
                task.task_key
                for probe in probes
                if answers.get(probe.task_key)
                for task in self._paused[probe.model]
                if task != probe
            ]
            if others:
                self.resumed += await self._store.end_pauses(others)
            self._answered |= {probe.model: answers[probe.task_key] for probe in probes if probe.task_key in answers}
            probes = [probe for probe in probes if probe.task_key not in answers]
        self._worker.log("resumed", tasks=self.resumed, unanswered=len(probes) or None)
