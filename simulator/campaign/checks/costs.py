"""Checks what calls cost, in runs whose model has a price: beside a sum made by hand from the model's own answers.

No write brings a task above its `maxCost`: what is booked, in doubt and out. At the end nothing is out, and what the
answers to a task's calls cost lies between what is booked and what is booked or in doubt. Without doubt it is exact.

For a tenant with a cap, a second account of its month is kept here from the tasks' rows. The tenant's own equals it
after each write, no wave is announced above the cap, and what is out is out of tasks.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.campaign.clients.workload import PRICES_MOST, price_number, price_variables
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
WAVES_JUDGED = "waves of tenants with a cap"
_MONTHS = "SELECT tenant, monthly_most, month, month_booked, month_doubted, month_out FROM tenant_limits"
_TASKS = "SELECT id, tenant, cost, cost_in_doubt, cost_out, wave_step FROM tasks"
CAPPED_JUDGED = "tasks that ended at their cap"
_ABOVE = "SELECT id FROM tasks WHERE coalesce(cost, 0) + cost_in_doubt + cost_out > max_cost"
_COSTS = "SELECT id, coalesce(cost, 0), cost_in_doubt, cost_out, error_code FROM tasks"


class _Task(NamedTuple):
    """What a task's row says of its costs, and its last wave."""

    tenant: str
    cost: int | None
    doubt: int
    out: int
    wave: int | None


class Costs:
    """What the model has answered to each tag's calls, in billionths of a dollar."""

    def __init__(self, world: World, judged: Counter[str]) -> None:
        self._connection = world.database.connection
        self._database = world.database
        self._is_priced = PRICES in world.variables
        self._prices = [parse_prices(price_variables(number)[PRICES]) for number in range(PRICES_MOST)]
        self._tasks: dict[str, _Task] = {}
        self._months: dict[str, tuple[int, int, int]] = {}  # By tenant: the month, what is booked, what is in doubt.
        self._judged = judged
        self._answered: Counter[str] = Counter()

    def counted(self, call: ModelCall, tag: str, reply: Reply) -> Reply:
        """Return what takes the model's answer to a call, and adds its cost."""
        if not self._is_priced:
            return reply
        price = price_of(self._prices[price_number(call.max_output_tokens)], call.model)
        if price is None:
            return reply

        def take(value: Any, error: BaseException | None) -> None:
            if isinstance(value, ModelReply):
                self._answered[tag] += price.cost(value.input_tokens, value.output_tokens)
            reply(value, error)

        return take

    def landed(self) -> None:
        """Check after a write that no task, and no tenant, is above its cap."""
        if not self._is_priced:
            return
        self._look_at_months()
        if above := self._connection.execute(_ABOVE).fetchall():
            raise InvariantBroken(f"{above[0][0]} may cost more than its cap")

    def _look_at_months(self) -> None:
        before, self._tasks = self._tasks, {row[0]: _Task(*row[1:]) for row in self._connection.execute(_TASKS)}
        rows = self._connection.execute(_MONTHS).fetchall()
        this = int(datetime.fromtimestamp(self._database.now_ms() / 1000, UTC).strftime("%Y%m"))
        months, self._months = self._months, {}
        for tenant, cap, month, booked, doubted, out in rows:
            now = {key: task for key, task in self._tasks.items() if task.tenant == tenant}
            gone = [task for key, task in before.items() if task.tenant == tenant and key not in now]
            changed = [(before[key], task) for key, task in now.items() if key in before and before[key] != task]
            account = months.get(tenant, (month, 0, 0))
            if tenant in months and (changed or any(task.out for task in gone)):
                kept = account if account[0] >= this else (this, 0, 0)
                account = (
                    kept[0],
                    kept[1] + sum((task.cost or 0) - (old.cost or 0) for old, task in changed),
                    kept[2] + sum(task.doubt - old.doubt for old, task in changed) + sum(task.out for task in gone),
                )
            self._months[tenant] = account
            if account != (month, booked, doubted) or out != sum(task.out for task in now.values()):
                raise InvariantBroken(f"{tenant} has {(month, booked, doubted, out)} in its month, its tasks {account}")
            waves = [task for old, task in changed if old.wave != task.wave]
            if waves and cap is not None:
                self._judged[WAVES_JUDGED] += 1
                if booked + doubted + out > cap:
                    raise InvariantBroken(f"{tenant} may cost {booked + doubted + out} this month, above {cap}")

    def check(self, born: Mapping[str, Sequence[TaskKey]]) -> None:
        """Check the costs of the tasks of each tag, if all of them are still there."""
        if not self._is_priced:
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
