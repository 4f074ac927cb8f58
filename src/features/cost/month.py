"""What the calls of a tenant with a cap cost in a month: the sums, and what is left of them.

The row of a tenant in `tenant_limits` has sums over its tasks: what is booked and in doubt this month, and what is out
now. Triggers change the row by a task's new total less its stored one, whatever writes the task: a claim, a step, an
end, a retry, an erasure. So a write that is repeated or lands late adds nothing, and none is forgotten. The same
triggers refuse a wave, or a submission, that does not fit, and with it the whole transaction.

The first cap makes the triggers, because wrangler's migrations split a trigger at its semicolons when they reach the
remote database (docs/decisions/calls.md#d0059). A deployment without caps has none, and its writes cost what they did.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.ids import split_task_key
from ...kernel.domain.task import COST_LIMIT
from ...kernel.store import d1
from ...kernel.store.claims import Claim
from ...kernel.store.d1 import BoundStatement, Row, Store, as_json, statement
from ...kernel.store.fragments import LISTED, NOW, wake

_MONTH = "CAST(strftime('%Y%m', 'now') AS INTEGER)"
_MONTH_AT = "1000 * unixepoch('now', 'start of month')"
_LEFT_MS = f"(1000 * unixepoch('now', 'start of month', '+1 month') - {NOW})"
# A month that has begun stays, even if the database's clock jumps back.
_THIS = f"month >= {_MONTH}"
_SETTLED = f"iif({_THIS}, month_booked + month_doubted, 0)"


def _counting(booked: str, doubted: str, out: str) -> str:
    return f"""UPDATE tenant_limits SET month = max(month, {_MONTH}),
    month_booked = iif({_THIS}, month_booked, 0) + {booked},
    month_doubted = iif({_THIS}, month_doubted, 0) + {doubted}, month_out = month_out + {out}"""


# Counts what a write changes of a task, and refuses a wave above the cap. A wave whose worker did not know the cap is
# refused too, because its calls may lack a price.
COUNT_WRITTEN = statement(f"""
CREATE TRIGGER IF NOT EXISTS tenant_limits_count AFTER UPDATE OF cost, cost_in_doubt, cost_out, wave_step ON tasks
WHEN NEW.cost IS NOT OLD.cost OR NEW.cost_in_doubt <> OLD.cost_in_doubt OR NEW.cost_out <> OLD.cost_out
  OR NEW.wave_step IS NOT OLD.wave_step
BEGIN
  {
    _counting(
        "coalesce(NEW.cost, 0) - coalesce(OLD.cost, 0)",
        "NEW.cost_in_doubt - OLD.cost_in_doubt",
        "NEW.cost_out - OLD.cost_out",
    )
} WHERE tenant = NEW.tenant;
  SELECT RAISE(ABORT, 'cost_limit') FROM tenant_limits WHERE tenant = NEW.tenant AND NEW.wave_step IS NOT OLD.wave_step
    AND monthly_most IS NOT NULL AND (NEW.wave_step < 0 OR month_booked + month_doubted + month_out > monthly_most);
END
""")

# Books what an erased task has out at its most.
COUNT_ERASED = statement(f"""
CREATE TRIGGER IF NOT EXISTS tenant_limits_erase AFTER DELETE ON tasks WHEN OLD.cost_out > 0
BEGIN
  {_counting("0", "OLD.cost_out", "-OLD.cost_out")} WHERE tenant = OLD.tenant;
END
""")

# Refuses a new task whose first call does not fit beside what is booked or in doubt, or has no price.
ADMIT = statement(f"""
CREATE TRIGGER IF NOT EXISTS tenant_limits_admit AFTER INSERT ON tasks WHEN NEW.first_most IS NOT NULL
BEGIN
  SELECT RAISE(ABORT, 'no_price') FROM tenant_limits
  WHERE tenant = NEW.tenant AND monthly_most IS NOT NULL AND NEW.first_most < 0;
  SELECT RAISE(ABORT, 'cost_limit') FROM tenant_limits
  WHERE tenant = NEW.tenant AND NEW.first_most > monthly_most - {_SETTLED};
END
""")

# What the tenant's tasks have out now: those that go on, and ended ones whose worker may still settle its calls.
_OUT = """(SELECT coalesce(sum(cost_out), 0) FROM tasks INDEXED BY tasks_to_wake
    WHERE tenant = :tenant AND finished_at IS NULL)
  + (SELECT coalesce(sum(cost_out), 0) FROM tasks INDEXED BY tasks_with_open_calls
    WHERE finished_at IS NOT NULL AND in_flight <> '[]' AND tenant = :tenant)"""

# Sets a tenant's cap, and lets the tasks that wait for it wake. The sums of a tenant that had a cap go on.
SET_CAP = statement(f"""
INSERT INTO tenant_limits (tenant, monthly_most, counted_from, month, month_out, wakes_after)
SELECT :tenant, :most, {NOW}, {_MONTH}, {_OUT}, '' WHERE 1
ON CONFLICT DO UPDATE SET monthly_most = excluded.monthly_most, wakes_after = ''
WHERE monthly_most IS NOT excluded.monthly_most
""")
REMOVE_CAP = statement("""
UPDATE tenant_limits SET monthly_most = NULL, wakes_after = '' WHERE tenant = :tenant AND monthly_most IS NOT NULL
""")
READ = statement(f"""
SELECT monthly_most, iif({_THIS}, month_booked, 0) AS booked,
  iif({_THIS}, month_doubted, 0) AS doubted, month_out, max(month, {_MONTH}) AS month,
  max(counted_from, {_MONTH_AT}) AS counted_from, {_LEFT_MS} AS left_ms
FROM tenant_limits WHERE tenant = :tenant AND monthly_most IS NOT NULL
""")

# --- Waking ----------------------------------------------------------------------------------------------

# Finds a tenant whose cap has changed, and the next tasks that wait for it.
WAKING = statement(f"""
SELECT tenant, wakes_after, (SELECT json_group_array(id) FROM (
    SELECT id FROM tasks INDEXED BY tasks_for_cost WHERE tasks.tenant = tenant_limits.tenant
      AND waits_for = '{COST_LIMIT}' AND finished_at IS NULL AND id > wakes_after ORDER BY id LIMIT :most)) AS ids
FROM tenant_limits WHERE wakes_after IS NOT NULL
  AND tenant = coalesce(:tenant, tenant) LIMIT 1
""")
# When a task goes on that a changed cap wakes.
_TURN = f"({NOW} + (SELECT key FROM json_each(:task_keys) WHERE value = tasks.id) * :apart_ms)"
_WAITS = f"status = 'pending' AND waits_for = '{COST_LIMIT}'"
# Wakes tasks. Until its turn a woken task shows that it waits for the cap. Another change of the cap, or a WAKE that
# lands late, leaves it alone, because it may have been sent off.
WAKE = statement(f"""
UPDATE tasks SET not_before = {_TURN}, wait_until = NULL, dispatches = 0, sent_at = NULL, wake_at = {wake(_TURN)}
WHERE {LISTED} AND {_WAITS} AND not_before > {_TURN}
""")
WAKE_ON = statement("UPDATE tenant_limits SET wakes_after = :then WHERE tenant = :tenant AND wakes_after = :after")
FORGET_CAP = statement("""
DELETE FROM tenant_limits WHERE tenant = :tenant AND monthly_most IS NULL AND wakes_after IS NULL
""")
# Wakes a task at once whose worker has looked at another cap or another month than there is now. Goes after RELEASE.
WAKE_AGAIN = statement(f"""
UPDATE tasks SET not_before = {NOW}, wake_at = {NOW} WHERE id = :task_key AND fence = :fence AND {_WAITS}
  AND NOT EXISTS (SELECT 1 FROM tenant_limits WHERE tenant = :tenant AND monthly_most = :most
    AND max(month, {_MONTH}) = :month)
""")


class MonthRow(NamedTuple):
    """A tenant's cap, its sums, the month, from when it counts (ms since the epoch), and the ms that are left of it."""

    most: int
    booked: int
    doubted: int
    out: int
    month: int
    counted_from: int
    left_ms: int


class Waking(NamedTuple):
    """The next tasks of a tenant that a changed cap wakes, and the task after which they come."""

    tenant: str
    after: str
    task_keys: Sequence[str]


class MonthStore(Store):
    """Reads and sets the caps of tenants. Each method is one call to D1."""

    async def read(self, tenant: str) -> MonthRow | None:
        """Read a tenant's cap and sums, None if it has no cap."""
        (found,) = await self._database.run(READ.bind(tenant=tenant))
        return _row(found)

    async def set(self, tenant: str, most: int | None) -> tuple[MonthRow | None, Waking | None]:
        """Set or remove a tenant's cap, and return what there is to wake."""
        change = REMOVE_CAP.bind(tenant=tenant) if most is None else SET_CAP.bind(tenant=tenant, most=most)
        triggers = [] if most is None else [one.bind() for one in (COUNT_WRITTEN, COUNT_ERASED, ADMIT)]
        *_, found, waking = await self._database.run(*triggers, change, READ.bind(tenant=tenant), waking_of(tenant))
        return _row(found), read_waking(waking)

    async def waking(self) -> Waking | None:
        """Find the next tasks to wake of any tenant."""
        (found,) = await self._database.run(waking_of(None))
        return read_waking(found)

    async def wake(self, waking: Waking) -> bool:
        """Wake the next tasks of a tenant, spread over some minutes. Return whether there may be more."""
        which, keys = {"tenant": waking.tenant, "after": waking.after}, waking.task_keys
        more = len(keys) == limits.CAP_WAKES_MOST
        apart_ms = round(1000 * limits.CAP_SPREAD_SECONDS / limits.CAP_WAKES_MOST)
        await self._database.run(
            WAKE.bind(task_keys=as_json(keys), apart_ms=apart_ms),
            WAKE_ON.bind(**which, then=keys[-1] if more else None),
            FORGET_CAP.bind(tenant=waking.tenant),
        )
        return more


def waking_of(tenant: str | None) -> BoundStatement:
    """Make the statement that finds the next tasks to wake, of any tenant with None."""
    return WAKING.bind(tenant=tenant, most=limits.CAP_WAKES_MOST)


def read_waking(rows: Sequence[Row]) -> Waking | None:
    """Read the rows of that statement."""
    return next(
        (Waking(d1.text(row, "tenant"), d1.text(row, "wakes_after"), json.loads(d1.text(row, "ids"))) for row in rows),
        None,
    )


def _row(rows: Sequence[Row]) -> MonthRow | None:
    names = ("monthly_most", "booked", "doubted", "month_out", "month", "counted_from", "left_ms")
    return next((MonthRow(*(d1.whole(row, name) for name in names)) for row in rows), None)


class Month:
    """What is left of a tenant's month for the calls of one claim, as the last look at it has shown.

    Other tasks change it meanwhile, so the triggers judge each wave. Before the first look no call fits.
    """

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._tenant = split_task_key(claim.task_key)[0]
        self._seen: MonthRow | None = None
        self._has_looked = False
        self._total = 0  # What the task's own calls cost when the month was looked at, those out at their most.
        self.is_fresh = False  # Whether no call has been found to fit since the last look.

    async def look(self, store: Store, total: int) -> None:
        """Look at what is left, beside a task whose stored total is `total`."""
        self._seen = await store.beside(MonthStore).read(self._tenant)
        self._total, self._has_looked, self.is_fresh = total, True, True

    def fits(self, total: int) -> bool:
        """Whether the task's total may become `total`."""
        seen = self._seen
        fits = self._has_looked and (
            seen is None or total - self._total <= seen.most - seen.booked - seen.doubted - seen.out
        )
        self.is_fresh = self.is_fresh and not fits
        return fits

    def waits_ms(self, most: int) -> int | None:
        """Return for how many ms a call that does not fit waits for the next month; None: for other calls."""
        seen = self._seen
        return None if seen is None or seen.booked + seen.doubted + most <= seen.most else seen.left_ms

    def wake_again(self) -> BoundStatement | None:
        """Make the statement that lets a released task go on if its cap or month is not the one that was seen."""
        seen, claim = self._seen, self._claim
        if seen is None:
            return None
        return WAKE_AGAIN.bind(
            task_key=claim.task_key, fence=claim.fence, tenant=self._tenant, most=seen.most, month=seen.month
        )
