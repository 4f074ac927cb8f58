"""`/api/tenants/{name}/limits`: what the calls of a tenant may cost in a month. A changed cap wakes waiting tasks."""

from collections.abc import Sequence
from typing import Annotated, Final, TypedDict

from pydantic import Field

from ...kernel.api.base.endpoint import Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import Asked, MaxCost, amount, checked, read_object
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import NOT_FOUND, FieldError, Refusal, field_refusal
from ...kernel.api.base.views import Time, rfc3339, shown
from ...kernel.domain import limits
from ...kernel.domain.errors import StoreError
from ...kernel.domain.ids import TENANT_TAKES, is_tenant
from ...kernel.domain.prices import written
from ...kernel.run.invocation import Invocation
from ...kernel.store.d1 import BoundStatement, Row
from ...kernel.work.sweep.duty import Duty, DutyCost, SweepAllowance
from .month import MonthRow, MonthStore, Waking, read_waking, waking_of


class LimitsFields(Asked):
    """The limits of a tenant. A limit that is null is removed."""

    monthly_cost_most: MaxCost | None = Field(
        description="The most that the tenant's calls may cost in a month (UTC), in dollars: those in doubt and in "
        "flight at their most. Null removes the cap. A new cap counts from now on.",
    )


Dollars = Annotated[str, Field(examples=["12.500000000"])]


@shown
class LimitsView(TypedDict):
    """A tenant's cap for each month, in dollars, and what its calls have cost this month. All are null without a cap.

    `booked` is the cost of settled calls, `inDoubt` the most of calls in doubt, and `out` that of the calls in flight.
    `countedFrom` is when the sums begin: with the month, or when the cap was set.
    """

    tenant: str
    monthlyCostMost: Dollars | None
    booked: Dollars | None
    inDoubt: Dollars | None
    out: Dollars | None
    countedFrom: Time | None


async def read_limits(exchange: Exchange) -> Reply:
    """Show a tenant's cap, and what is booked, in doubt and out."""
    name = _tenant(exchange)
    return json_reply(200, _view(name, await exchange.api.store.beside(MonthStore).read(name)))


async def write_limits(exchange: Exchange) -> Reply:
    """Set or remove a tenant's cap. The first tasks that wait for it are woken; the sweep wakes the others."""
    name = _tenant(exchange)
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST)
    if "monthlyCostMost" not in body:
        raise field_refusal([FieldError("monthlyCostMost", "is required; null removes the cap")])
    store = exchange.api.store.beside(MonthStore)
    month, waking = await store.set(name, amount(checked(LimitsFields, body).monthly_cost_most))
    if waking is not None:
        await store.wake(waking)
    return json_reply(200, _view(name, month))


def _tenant(exchange: Exchange) -> str:
    name = exchange.parts["name"]
    if not is_tenant(name):
        raise Refusal(NOT_FOUND, f"The name of a tenant is {TENANT_TAKES}.")
    if name != exchange.acting.by:
        exchange.acting.note(name)
    return name


def _view(tenant: str, month: MonthRow | None) -> LimitsView:
    return LimitsView(
        tenant=tenant,
        monthlyCostMost=None if month is None else written(month.most),
        booked=None if month is None else written(month.booked),
        inDoubt=None if month is None else written(month.doubted),
        out=None if month is None else written(month.out),
        countedFrom=None if month is None else rfc3339(month.counted_from),
    )


class WakingDuty(Duty):
    """Wakes the tasks that wait for a cap that has changed, in pages."""

    cost = DutyCost(2, 4)

    def __init__(self, invocation: Invocation) -> None:
        self._store = invocation.store.beside(MonthStore)
        self._log = invocation.log
        self._next: Waking | None = None

    def look(self) -> BoundStatement:
        """Make the statement that finds the next tasks of any tenant."""
        return waking_of(None)

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Keep what was found."""
        self._next = read_waking(rows)

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Wake one page of tasks."""
        if self._next is None:
            return False
        try:
            await self._store.wake(self._next)
            self._next = await self._store.waking()
        except StoreError as error:
            self._log.failure("wake_failed", error)
            return False
        return self._next is not None


_ANSWERS = (Answer(200, "The limits", (LimitsView,)),)
ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/tenants/{name}/limits",
        summary="Read a tenant's cap for its month, and what its calls have cost",
        handler=read_limits,
        access=Access.OPERATOR,
        answers=_ANSWERS,
    ),
    Endpoint(
        method="PUT",
        path="/api/tenants/{name}/limits",
        summary="Set or remove a tenant's cap for each month",
        handler=write_limits,
        access=Access.OPERATOR,
        body=LimitsFields,
        answers=_ANSWERS,
    ),
)
