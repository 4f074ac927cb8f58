"""Checks what calls cost, in runs whose model has a price: beside a sum made by hand from the model's own answers.

No write brings a task above its `maxCost`: what is booked, in doubt and out. At the end nothing is out, and what the
answers to a task's calls cost lies between what is booked and what is booked or in doubt. Without doubt it is exact.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain.prices import parse_prices, price_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.platform.binding_port import Reply
    from simulator.platform.world import World
    from src.kernel.calls.protocol import ModelCall
    from src.kernel.domain.ids import TaskKey

PRICES = "PRICES"
COSTS_JUDGED = "tasks whose costs agree with the model's answers"
CAPPED_JUDGED = "tasks that ended at their cap"
_ABOVE = "SELECT id FROM tasks WHERE coalesce(cost, 0) + cost_in_doubt + cost_out > max_cost"
_COSTS = "SELECT id, coalesce(cost, 0), cost_in_doubt, cost_out, error_code FROM tasks"


class Costs:
    """What the model has answered to each tag's calls, in billionths of a dollar."""

    def __init__(self, world: World, judged: Counter[str]) -> None:
        self._connection = world.database.connection
        self._prices = parse_prices(world.variables.get(PRICES) or "{}")
        self._judged = judged
        self._answered: Counter[str] = Counter()

    def counted(self, call: ModelCall, tag: str, reply: Reply) -> Reply:
        """Return what takes the model's answer to a call, and adds its cost."""
        price = price_of(self._prices, call.model)
        if price is None:
            return reply

        def take(value: Any, error: BaseException | None) -> None:
            if isinstance(value, ModelReply):
                self._answered[tag] += price.cost(value.input_tokens, value.output_tokens)
            reply(value, error)

        return take

    def landed(self) -> None:
        """Check after a write that no task is above its cap."""
        if self._prices and (above := self._connection.execute(_ABOVE).fetchall()):
            raise InvariantBroken(f"{above[0][0]} may cost more than its cap")

    def check(self, born: Mapping[str, Sequence[TaskKey]]) -> None:
        """Check the costs of the tasks of each tag, if all of them are still there."""
        if not self._prices:
            return
        rows = {row[0]: row[1:] for row in self._connection.execute(_COSTS)}
        for task_key, (_, _, out, code) in rows.items():
            if out:
                raise InvariantBroken(f"{task_key} has ended, and {out} is still reserved")
            self._judged[CAPPED_JUDGED] += code == "cost_exhausted"
        for tag, task_keys in born.items():
            if not rows.keys() >= set(task_keys):
                continue
            booked = sum(rows[task_key][0] for task_key in task_keys)
            doubt = sum(rows[task_key][1] for task_key in task_keys)
            if not booked <= self._answered[tag] <= booked + doubt:
                found = f"{booked} are booked and {doubt} in doubt"
                raise InvariantBroken(f"{task_keys[0]}: the answers cost {self._answered[tag]}, {found}")
            self._judged[COSTS_JUDGED] += booked > 0
