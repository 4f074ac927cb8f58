"""Requests with `tenant=*`: they act on one tenant after the other, and answer with the cursor of the next request.

A cursor is the name of a tenant and a colon; in a list, the cursor of a page of its tasks follows. A request visits at
most TENANTS_A_PAGE tenants, so the number of its D1 calls is bounded. One that changes tasks changes those of one
tenant only, as if it named the tenant.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from ...domain.ids import TENANT_PATTERN, TENANTS_A_PAGE
from ...store.tenants import TenantStore
from ..base import fields
from ..base.exchange import EVERYONE, Exchange
from ..base.messages import Reply, json_reply
from . import filters
from .views import TaskListView, TaskView

# Reads a tenant's tasks behind a place, up to a number of them. Returns them with the cursor of the next page.
type PageOf = Callable[[Exchange, str, str | None, int], Awaitable[tuple[list[TaskView], str | None]]]
CURSOR_PATTERN: Final = f"{TENANT_PATTERN}:(?:{fields.CURSOR_PATTERN})?"
_CURSOR: Final = re.compile(CURSOR_PATTERN)


class Visit(NamedTuple):
    """The tenants that a request visits, the place in the first one's list, and the tenant after them, if any."""

    tenants: Sequence[str]
    place: str | None
    behind: str | None

    def after(self, index: int) -> str | None:
        """Return the tenant after the visited tenant with the given index, None if there is none."""
        return self.tenants[index + 1] if index + 1 < len(self.tenants) else self.behind


class ActResult(NamedTuple):
    """The result of an act on one tenant's tasks, such as a bulk retry.

    `ends` says that a request with `tenant=*` ends with this tenant, and answers about it. `again` says that more of
    the tenant's tasks are left, so the next request begins with the same tenant.
    """

    view: Mapping[str, object]
    ends: bool
    again: bool = False


async def visit(exchange: Exchange) -> Visit:
    """Find the tenants that a request with `tenant=*` visits. Raises Refusal (422) for a malformed cursor."""
    text = exchange.query.get("cursor")
    if text is not None and not _CURSOR.fullmatch(text):
        raise fields.refused("cursor", "must be the nextCursor of an earlier answer for all tenants")
    first, _, place = (text or "").partition(":")
    found = await exchange.api.store.beside(TenantStore).tenants(first, TENANTS_A_PAGE + 1)
    # If the tenant in the cursor has no tasks any more, the list starts at the beginning of the next tenant's tasks.
    before = fields.read_cursor(place) if place and found[:1] == [first] else None
    return Visit(found[:TENANTS_A_PAGE], before, found[TENANTS_A_PAGE] if len(found) > TENANTS_A_PAGE else None)


def refuse_cursor(exchange: Exchange) -> None:
    """Refuse (422) a cursor in a request that acts on one tenant."""
    if "cursor" in exchange.query:
        raise fields.refused("cursor", "needs tenant=*")


def cursor(tenant: str | None, place: str = "") -> str | None:
    """Make the cursor that begins at a place in a tenant's tasks, or None if no tenant is left."""
    return None if tenant is None else f"{tenant}:{place}"


async def read_page(exchange: Exchange, page_of: PageOf) -> Reply:
    """Show a page of all tenants' tasks: one tenant after the other, and each tenant's tasks newest first."""
    # Refuse bad filters before the first tenant is visited.
    filters.read(exchange.query, exchange.api.provider.default_model)
    filters.span("", exchange.query)
    if fields.is_true(exchange.query, "counts"):
        raise fields.refused("counts", "does not go with tenant=*")
    most, found = fields.page_limit(exchange.query), await visit(exchange)
    shown: list[TaskView] = []
    next_cursor = cursor(found.behind)
    for index, tenant in enumerate(found.tenants):
        before = None if index else found.place
        views, last = await page_of(exchange, exchange.acting.enter(tenant), before, most - len(shown))
        shown += views
        if last is not None or len(shown) == most:
            next_cursor = cursor(found.after(index)) if last is None else cursor(tenant, last)
            break
    return json_reply(200, TaskListView(tasks=shown, nextCursor=next_cursor))


async def act_on_each(
    exchange: Exchange, act: Callable[[str], Awaitable[ActResult]], nothing: Mapping[str, object]
) -> Mapping[str, object]:
    """Act on the named tenant, or with `tenant=*` on the next one with a matching task; else `nothing`."""
    if exchange.acting.whose != EVERYONE:
        refuse_cursor(exchange)
        return (await act(exchange.tenant)).view
    found, shown, name, behind = await visit(exchange), nothing, None, None
    for index, tenant in enumerate(found.tenants):
        told = await act(exchange.acting.enter(tenant))
        shown, name, behind = told.view, tenant, tenant if told.again else found.after(index)
        if told.ends:
            break
    return {**shown, "tenant": name, "nextCursor": cursor(behind)}
