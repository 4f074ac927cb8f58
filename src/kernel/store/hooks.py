"""What features add to the stores of tasks: statements where tasks end, and how outputs are joined."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..domain import limits
from ..domain.ids import TaskKey
from .d1 import BoundStatement, Database, Row, Store
from .rows import JoinerOf


class EndHook(Protocol):
    """What a feature does where tasks end, in one invocation."""

    def ended(self, task_keys: Sequence[TaskKey]) -> BoundStatement:
        """Make the statement that follows those that end tasks. Some of the tasks may not have ended."""
        ...

    def wrote(self, rows: Sequence[Row], asked_at: float) -> None:
        """Take the rows of the statement. The transaction was sent at `asked_at`, by the invocation's clock."""
        ...

    def begin(self) -> None:
        """Begin what follows the ends that this invocation has written, and return at once."""
        ...


class Hooks(NamedTuple):
    """What features add to the stores of one invocation."""

    ends: Sequence[EndHook] = ()
    joiner_of: JoinerOf | None = None


NO_HOOKS = Hooks()


class HookedStore(Store):
    """The base class of the stores that end tasks or read their results."""

    def __init__(self, database: Database, hooks: Hooks = NO_HOOKS) -> None:
        super().__init__(database)
        self.hooks = hooks

    def beside[S: Store](self, kind: type[S]) -> S:
        """Make a store of another class for the same database, with the same hooks if the class has hooks."""
        made = kind(self._database)
        if isinstance(made, HookedStore):
            made.hooks = self.hooks
        return made

    async def _end(
        self, task_keys: Sequence[TaskKey], *statements: BoundStatement, sends: int = limits.STORE_SENDS
    ) -> list[Sequence[Row]]:
        """Run statements that end tasks, and those of the hooks, as one transaction. Return the rows of `statements`.

        The time is read before the transaction is sent, because D1's answer may arrive after more than a minute.
        """
        ends, asked_at = self.hooks.ends, asyncio.get_running_loop().time()
        results = await self._database.run(*statements, *(hook.ended(task_keys) for hook in ends), sends=sends)
        for hook, rows in zip(ends, results[len(statements) :], strict=True):
            hook.wrote(rows, asked_at)
        return results[: len(statements)]
