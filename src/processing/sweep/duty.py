"""What a duty is that a feature adds to the sweep."""

from collections.abc import Sequence

from ...store.d1.database import Row
from ...store.d1.statement import BoundStatement
from .sweep_allowance import StepCost, SweepAllowance


class Duty:
    """A duty of one sweep. Its defaults are those of a duty that needs no look and leaves nothing to its end."""

    cost = StepCost()  # The most that a step takes.
    alone = False  # True if the duty is left to sweeps after which no task may run in the same invocation.

    def look(self) -> BoundStatement | None:
        """Make the statement that finds the duty's work. It joins the first read of the sweep.

        Duties with the same statement share it.
        """
        return None

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Take the rows of the statement. With `runs_tasks`, tasks may run in this invocation before the first step."""

    @property
    def is_urgent(self) -> bool:
        """Whether the duty has found work that should not always wait for a backlog of tasks."""
        return False

    @property
    def frees_space(self) -> bool:
        """Whether the duty will probably free space in the database."""
        return False

    def kept(self) -> StepCost:
        """Return what the duty will need at the sweep's end, which a run of a task must leave."""
        return StepCost()

    async def step(self, allowance: SweepAllowance) -> bool:
        """Do one step of the duty, and return whether there is more to do. Raises nothing."""
        raise NotImplementedError


async def do(duty: Duty, allowance: SweepAllowance) -> None:
    """Do a duty, as far as the allowance suffices."""
    while allowance.affords(duty.cost) and await duty.step(allowance):
        pass
