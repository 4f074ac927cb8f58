"""The tenant whose tasks a request reads or changes.

Only this module finds out from a key and `?tenant=` on which tenant a request acts. The table of the API says how far
each call reaches. The handler gets only the tenant that the request names, so that no call leaves its key's tenant by
mistake. The refusal of another tenant follows from key and query alone, so it is the same whether that tenant exists or
not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from ...core.ids import TaskKey, split_task_key
from ...core.keys import Scope
from ...core.tenants import LOCAL, TENANT_PATTERN, TENANT_TAKES, is_tenant
from .messages import Query
from .problems import FieldError, field_refusal, forbidden

TENANT: Final = "tenant"
ALL: Final = "*"
_DETAIL: Final = "This key is for its own tenant. Another tenant needs a key with the scope `operator`."


class Caller(NamedTuple):
    """The tenant and the id of a request's key. The id is empty if no key is checked.

    `may_read` says that the key has the scope `read`. `may_operate`: it has `operator`.
    """

    tenant: str
    key_id: str
    may_read: bool = True
    may_operate: bool = False


class Reach(Enum):
    """The tenants that a call may reach. The values are the schemas of its parameter `tenant`."""

    OWN = None
    ONE = f"^{TENANT_PATTERN}$"
    EACH = f"^(?:{TENANT_PATTERN}|\\*)$"


class Everyone(Enum):
    """All tenants, one after the other."""

    EVERYONE = ALL


EVERYONE: Final = Everyone.EVERYONE


def _unheard(_tenant: str) -> None:
    """Ignore an act."""


@dataclass(frozen=True, slots=True)
class Acting:
    """The tenants of a request. `by` is the tenant of its key, `whose` the tenant that it acts for, or EVERYONE.

    `note` is called with each tenant that the request acts on and that is not the key's own.
    """

    by: str = LOCAL
    whose: str | Literal[Everyone.EVERYONE] = LOCAL
    note: Callable[[str], None] = _unheard

    @property
    def tenant(self) -> str:
        """The only tenant that the request acts on. A call that takes `*` uses `enter` instead."""
        assert self.whose is not EVERYONE
        return self.whose

    @property
    def names_tenants(self) -> bool:
        """Whether answers name the tenant of each task, because it may not be the key's own."""
        return self.whose != self.by

    def enter(self, tenant: str) -> str:
        """Begin to act on a tenant. The log gets a line if the tenant is not the key's own."""
        assert self.whose in {EVERYONE, tenant}
        if tenant != self.by:
            self.note(tenant)
        return tenant

    def query(self, task_key: TaskKey) -> str:
        """Return the query that a link to this task needs for the same key, empty if the task is the key's own."""
        tenant = split_task_key(task_key)[0]
        return "" if tenant == self.by else f"?{TENANT}={tenant}"


def acting_of(caller: Caller, reach: Reach, query: Query, note: Callable[[str], None] = _unheard) -> Acting:
    """Return the tenants that a request acts for.

    Raises Refusal: 422 for a bad tenant name, 403 for a key that may not act there.
    """
    named = query.get(TENANT, caller.tenant)
    assert reach is not Reach.OWN or named == caller.tenant
    if named == caller.tenant:
        return Acting(caller.tenant, caller.tenant)
    is_all = named == ALL and reach is Reach.EACH
    if not is_all and not is_tenant(named):
        also = ", or * for all" if reach is Reach.EACH else ""
        raise field_refusal([FieldError(TENANT, f"must be the name of a tenant, {TENANT_TAKES}{also}")])
    if not caller.may_operate:
        raise forbidden(Scope.OPERATOR, _DETAIL)
    return Acting(caller.tenant, EVERYONE if is_all else named, note)
