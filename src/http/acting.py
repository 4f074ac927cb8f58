"""Whose tasks a request is about: the one place where a key and `?tenant=` become the tenant that is acted on.

A call says in the table of the API how far it reaches. Its handler knows the tenant that is meant and no other, so that
no call leaves the tenant of its key by mistake. The refusal of another tenant follows from key and query alone: it is
the same whether that tenant exists or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple

from ..core.ids import TaskKey, split_task_key
from ..core.keys import Scope
from ..core.tenants import LOCAL, TENANT_PATTERN, TENANT_TAKES, is_tenant
from .messages import Query
from .problems import FieldError, field_refusal, forbidden

TENANT: Final = "tenant"
ALL: Final = "*"
_DETAIL: Final = "This key is for its own tenant. Another one needs a key with the scope `operator`."


class Caller(NamedTuple):
    """Whose key a request carries, and which; no id where none is looked at.

    `may_read`: it has the scope `read`. `may_operate`: it has `operator`.
    """

    tenant: str
    key_id: str
    may_read: bool = True
    may_operate: bool = False


class Reach(Enum):
    """Whose things a call is about. The values are the schemas of its parameter `tenant`."""

    OWN = None
    ONE = f"^{TENANT_PATTERN}$"
    EACH = f"^(?:{TENANT_PATTERN}|\\*)$"


class Everyone(Enum):
    """All tenants, one after the other."""

    EVERYONE = ALL


EVERYONE: Final = Everyone.EVERYONE


def _unheard(_tenant: str) -> None:
    """Take no note of an act."""


@dataclass(frozen=True, slots=True)
class Acting:
    """On whose behalf a request acts: `by` is the tenant of its key, `whose` the one that is meant, or EVERYONE.

    `note` is told of each tenant that is acted on and is not the key's own.
    """

    by: str = LOCAL
    whose: str | Literal[Everyone.EVERYONE] = LOCAL
    note: Callable[[str], None] = _unheard

    @property
    def tenant(self) -> str:
        """The one tenant that is meant. A call that takes `*` goes through `enter` instead."""
        assert self.whose is not EVERYONE
        return self.whose

    @property
    def names_tenants(self) -> bool:
        """Whether answers name the tenant of each task: where it is not surely the key's own."""
        return self.whose != self.by

    def enter(self, tenant: str) -> str:
        """Begin to act on a tenant. Each one but the key's own is noted."""
        assert self.whose in {EVERYONE, tenant}
        if tenant != self.by:
            self.note(tenant)
        return tenant

    def query(self, task_key: TaskKey) -> str:
        """Return what a link to this task ends with, for the same key: nothing if the task is the key's own."""
        tenant = split_task_key(task_key)[0]
        return "" if tenant == self.by else f"?{TENANT}={tenant}"


def acting_of(caller: Caller, reach: Reach, query: Query, note: Callable[[str], None] = _unheard) -> Acting:
    """Say whose things are meant. Raises Refusal: 422 for what names no tenant, 403 for a key that may not go there."""
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
