"""Lists files. A long list is read from D1 in pages, and sent in parts, so that an isolate never holds it whole."""

import json
from collections.abc import AsyncGenerator
from typing import NamedTuple

from ....kernel.api.base.endpoint import Parameter
from ....kernel.api.base.exchange import Acting, Exchange
from ....kernel.api.base.fields import refused, whole
from ....kernel.api.base.messages import Reply, json_reply
from ....kernel.domain import limits
from ....kernel.domain.ids import FILE_ID_PATTERN, FileKey, file_key_of
from ..file import File, Purpose, tenant_of
from ..store import FileStore, file_store
from .shapes import FileListView, FileView, file_view

_MOST = limits.FILE_LIST_LIMIT_MOST
_ORDERS = ("desc", "asc")

PARAMETERS = (
    Parameter(
        "after", "The id of the last file of the previous page.", {"type": "string", "pattern": f"^{FILE_ID_PATTERN}$"}
    ),
    Parameter(
        "limit", "How many files at most.", {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _MOST}
    ),
    Parameter("order", "By creation: `desc` is newest first.", {"type": "string", "enum": _ORDERS, "default": "desc"}),
    Parameter("purpose", "Only files of this purpose.", {"type": "string", "enum": [one.value for one in Purpose]}),
)


class _Asked(NamedTuple):
    """Which files a request lists."""

    tenant: str | None  # None: the files of all tenants, one tenant after the other.
    after: FileKey | None
    limit: int
    newest_first: bool
    purpose: Purpose | None

    async def read(self, store: FileStore, after: FileKey | None, most: int) -> list[File]:
        """Read a page of the list from D1."""
        return await store.files(
            self.tenant, purpose=self.purpose, after=after, most=most, newest_first=self.newest_first
        )


class _Shower:
    """Shows files of a list. In a list of all tenants each file has its tenant, and the log names each tenant shown."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._entered: set[str] = set()

    def show(self, file: File) -> FileView:
        """Show one file."""
        view = file_view(file)
        if self._acting.listed_tenant is None:
            tenant = tenant_of(file.key)
            if tenant not in self._entered:
                self._entered.add(self._acting.enter(tenant))
            view["tenant"] = tenant
        return view


async def list_files(exchange: Exchange) -> Reply:
    """Show files. Raises Refusal (400) for a bad value of a parameter."""
    asked, store, shower = await _read(exchange), file_store(exchange.api.invocation), _Shower(exchange.acting)
    first = await asked.read(store, asked.after, min(asked.limit, limits.FILE_LIST_PAGE) + 1)
    if len(first) > limits.FILE_LIST_PAGE < asked.limit:
        return Reply(200, headers={"Content-Type": "application/json"}, parts=_parts(store, asked, first, shower))
    shown = [shower.show(file) for file in first[: asked.limit]]
    view = FileListView(
        object="list",
        data=shown,
        first_id=shown[0]["id"] if shown else None,
        last_id=shown[-1]["id"] if shown else None,
        has_more=len(first) > asked.limit,
    )
    return json_reply(200, view)


async def _parts(store: FileStore, asked: _Asked, found: list[File], shower: _Shower) -> AsyncGenerator[str]:
    """Write a list of more than one page. `found` is the first page, and one more file if the list goes on."""
    first, left = found[0], asked.limit
    before = '{"object": "list", "data": ['
    while True:
        page = found[: min(left, limits.FILE_LIST_PAGE)]
        last, left = page[-1], left - len(page)
        has_more = len(found) > len(page)
        yield before + ", ".join(json.dumps(shower.show(file), ensure_ascii=False) for file in page)
        if not has_more or left == 0:
            break
        before = ", "
        found = await asked.read(store, last.key, min(left, limits.FILE_LIST_PAGE) + 1)
        if not found:  # the files that followed were deleted since
            has_more = False
            break
    yield f'], "first_id": "{first.id}", "last_id": "{last.id}", "has_more": {json.dumps(has_more)}}}'


async def _after(exchange: Exchange) -> FileKey | None:
    """Read where the page begins. In a list of all tenants the file must be there, because its id has no tenant."""
    if "after" not in exchange.query:
        return None
    tenant = exchange.acting.listed_tenant
    after = file_key_of(tenant or "", exchange.query["after"])
    if after is None:
        raise refused("after", "must be the id of a file")
    if tenant is None:
        after = await file_store(exchange.api.invocation).of_some_tenant(after.removeprefix(":"))
        if after is None:
            raise refused("after", "names a file that no longer exists: begin again")
    return after


async def _read(exchange: Exchange) -> _Asked:
    query, after = exchange.query, await _after(exchange)
    limit, order, purpose = whole(query, "limit", _MOST, _MOST), query.get("order", "desc"), query.get("purpose")
    if order not in _ORDERS:
        raise refused("order", "must be asc or desc")
    if purpose is not None and purpose not in {one.value for one in Purpose}:
        raise refused("purpose", f"must be {', '.join(Purpose)}")
    return _Asked(
        exchange.acting.listed_tenant, after, limit, order == "desc", None if purpose is None else Purpose(purpose)
    )
