"""Checks that a write that lands late does not undo what happened after the write was requested.

The module records when each call to the database was requested. A write that lands late keeps the time of its request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.platform.binding_port import Reply
from simulator.platform.d1 import PreparedStatement
from src.kernel.domain.ids import TaskKey

if TYPE_CHECKING:
    from simulator.platform.world import World


class Lateness:
    """When the writes of one world were requested, and when tasks were claimed and retried, in virtual seconds."""

    def __init__(self, world: World) -> None:
        self._loop = world.loop
        # By the `id` of a database call's statements: when the call was requested. The stored reference to the
        # statements keeps their `id` unique.
        self._asked: dict[int, tuple[float, Sequence[PreparedStatement]]] = {}
        self._claimed_at: dict[TaskKey, float] = {}
        self._put_back_at: dict[TaskKey, float] = {}
        self._serve = world.database.serve
        world.database.serve = self._served  # type: ignore[method-assign]

    def _served(self, statements: Sequence[PreparedStatement], reply: Reply, latency: Callable[..., object]) -> None:
        self._asked[id(statements)] = (self._loop.now(), statements)
        self._serve(statements, reply, latency)

    def landed(self, statements: Sequence[PreparedStatement]) -> None:
        """Forget a database call that has landed, because it does not land again."""
        self._asked.pop(id(statements), None)

    def changed(self, was: Row, row: Row, now_ms: int, statements: Sequence[PreparedStatement]) -> None:
        """Check a change of a row by when the database call that made it was requested. Raises InvariantBroken."""
        asked_at, _ = self._asked.get(id(statements), (math.inf, None))
        task_key, time = row.task_key, self._loop.now()
        if row.status == "processing" and row.fence != was.fence:
            live = was.lease_until is not None and was.lease_until > now_ms
            if live and asked_at < self._claimed_at.get(task_key, -math.inf):
                raise InvariantBroken(
                    f"{task_key}: claim {was.fence} was taken over by one that had been asked for before"
                )
            self._claimed_at[task_key] = time
        put_back = row.status == "pending" and was.terminal
        cancelled = row.status == "cancelled" and not was.terminal
        if (put_back or cancelled) and asked_at < self._put_back_at.get(task_key, -math.inf):
            raise InvariantBroken(f"{task_key}: {row.status} by a request from before it was put back")
        if put_back:
            self._put_back_at[task_key] = time
