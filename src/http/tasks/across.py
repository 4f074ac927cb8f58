"""Requests with `tenant=*`: they act on one tenant after the other, and say where the next request goes on.

A cursor is the name of a tenant, a colon and, in a list, the cursor of that tenant's own page. A request visits at most
TENANTS_A_PAGE tenants, so it makes a bounded number of calls. A request that changes tasks changes those of one tenant
only, and follows the same rules as a request about one tenant.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from ...core.tenants import TENANT_PATTERN, TENANTS_A_PAGE
from ...store.tenants import TenantStore
from ..base import queries
from ..base.acting import EVERYONE
from ..base.exchange import Exchange
from ..base.messages import Reply, json_reply
from ..base.problems import FieldError, field_refusal
from . import filters
from .list_views import TaskListView
from .task_views import TaskView

# Reads up to so many of a tenant's tasks after a place, and returns them with the place after them.
type PageOf = Callable[[Exchange, str, str | None, int], Awaitable[tuple[list[TaskView], str | None]]]
CURSOR_PATTERN: Final = f"{TENANT_PATTERN}:(?:{queries.CURSOR_PATTERN})?"
_CURSOR: Final = re.compile(CURSOR_PATTERN)


class Visit(NamedTuple):
    """The tenants to visit, where the list of the first one goes on, and the tenant after them, if there is one."""

    tenants: Sequence[str]
    place: str | None
    behind: str | None

    def after(self, index: int) -> str | None:
        """The tenant after the one of this index."""
        return self.tenants[index + 1] if index + 1 < len(self.tenants) else self.behind


class ActResult(NamedTuple):
    """The result of an act on one tenant.

    `ends` says that the answer is about this tenant. `again` says that more is left to do for this tenant.
    """

    view: Mapping[str, object]
    ends: bool
    again: bool = False


async def visit(exchange: Exchange) -> Visit:
    """Find the next tenants of all. Raises Refusal (422) for a malformed cursor."""
    text = exchange.query.get("cursor")
    if text is not None and not _CURSOR.fullmatch(text):
        raise field_refusal([FieldError("cursor", "must be the nextCursor of an earlier answer for all tenants")])
    first, _, place = (text or "").partition(":")
    found = await exchange.api.store.beside(TenantStore).tenants(first, TENANTS_A_PAGE + 1)
    # If the cursor's tenant has no tasks any more, the next tenant is read from its beginning.
    before = queries.read_cursor(place) if place and found[:1] == [first] else None
    return Visit(found[:TENANTS_A_PAGE], before, found[TENANTS_A_PAGE] if len(found) > TENANTS_A_PAGE else None)


def refuse_cursor(exchange: Exchange) -> None:
    """Refuse (422) a cursor in a request about one tenant."""
    if "cursor" in exchange.query:
        raise field_refusal([FieldError("cursor", "needs tenant=*")])


def cursor(tenant: str | None, place: str = "") -> str | None:
    """Make the cursor of what begins at a place of a tenant. None: nothing is left."""
    return None if tenant is None else f"{tenant}:{place}"


async def read_page(exchange: Exchange, page_of: PageOf) -> Reply:
    """Show a page of the tasks of all tenants: those of one tenant, newest first, then those of the next."""
    # Refuse bad filters before a tenant is visited.
    filters.read(exchange.query, exchange.api.provider.default_model)
    filters.span("", exchange.query)
    if queries.is_true(exchange.query, "counts"):
        raise queries.refused("counts", "does not go with tenant=*")
    most, found = queries.page_limit(exchange.query), await visit(exchange)
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
    """Act on the tenant that the request names. With `*`, act on the next tenant with a matching task.

    `nothing` is the answer if there are no tenants.
    """
    if exchange.acting.whose is not EVERYONE:
        refuse_cursor(exchange)
        return (await act(exchange.tenant)).view
    found, shown, name, behind = await visit(exchange), nothing, None, None
    for index, tenant in enumerate(found.tenants):
        told = await act(exchange.acting.enter(tenant))
        shown, name, behind = told.view, tenant, tenant if told.again else found.after(index)
        if told.ends:
            break
    return {**shown, "tenant": name, "nextCursor": cursor(behind)}
