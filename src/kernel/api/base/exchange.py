"""`Exchange`, the only argument of every handler of a call, and the tenant on which its request acts.

The request's API key and its `?tenant=` decide the tenant, and only here, so no handler acts on another tenant by
mistake. A tenant that the key may not reach is refused without looking it up, so the refusal does not tell whether it
exists. Only a key with the scope `read` sees the texts of a task.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

from ...domain.ids import (
    LOCAL,
    TENANT_PATTERN,
    TENANT_TAKES,
    TaskKey,
    is_task_id,
    is_tenant,
    split_task_key,
    task_key_of,
)
from ...domain.keys import Scope
from ...domain.task import OPTION_TEXTS, Task, TaskOptions
from .messages import Query, Request
from .problems import FieldError, field_refusal, forbidden, no_task
from .services import Api

TENANT: Final = "tenant"
EVERYONE: Final = "*"  # The value of `Acting.whose` for a request on all tenants, one after the other.
_DETAIL: Final = "This key is for its own tenant. Another tenant needs a key with the scope `operator`."
_KEYS_DETAIL: Final = (
    "Another tenant's keys need a key with the scope `admin` of the tenant that OPERATOR_TENANT names."
)
_KEYLESS_DETAIL: Final = (
    "REQUIRE_KEYS is false here, so each client is the tenant `local` and reaches no other tenant, with any key."
)


class Caller(NamedTuple):
    """The tenant and the id of a request's API key. The id is empty if the call needs no key.

    `may_read` says that the key has the scope `read`, `may_operate` that it has the scope `operator`, and
    `may_administer` that it has the scope `admin` of the operator's tenant.
    """

    tenant: str
    key_id: str
    may_read: bool = True
    may_operate: bool = False
    may_administer: bool = False


class Reach(Enum):
    """Which tenants a request of a call may name: only the key's own, one tenant, or one tenant or all.

    With `ADMINISTERED` it may name one tenant, and another one needs the scope `admin` of the operator's tenant instead
    of `operator`. The value of each member is the pattern of the parameter `tenant`.
    """

    OWN = None
    ADMINISTERED = f"^(?:{TENANT_PATTERN})$"
    ONE = f"^{TENANT_PATTERN}$"
    EACH = f"^(?:{TENANT_PATTERN}|\\*)$"


@dataclass(frozen=True, slots=True)
class Acting:
    """A request's tenants: its key's (`by`), and the one acted on, or EVERYONE (`whose`). `note` gets others' names."""

    by: str = LOCAL
    whose: str = LOCAL
    note: Callable[[str], None] = lambda _tenant: None

    @property
    def tenant(self) -> str:
        """The one tenant that the request acts on. A request with `tenant=*` acts on no single tenant."""
        assert self.whose != EVERYONE
        return self.whose

    @property
    def listed_tenant(self) -> str | None:
        """The tenant whose rows a list shows, None for those of all tenants."""
        return None if self.whose == EVERYONE else self.whose

    @property
    def names_tenants(self) -> bool:
        """Whether answers name each task's tenant, because the task may belong to another tenant than the key."""
        return self.whose != self.by

    def enter(self, tenant: str) -> str:
        """Begin to act on a tenant. If the tenant is not the key's own, `note` writes a line to the log."""
        assert self.whose in {EVERYONE, tenant}
        if tenant != self.by:
            self.note(tenant)
        return tenant

    def query(self, task_key: TaskKey) -> str:
        """Return the query (`?tenant=…`) of a link to a task, empty if the task belongs to the key's own tenant."""
        tenant = split_task_key(task_key)[0]
        return "" if tenant == self.by else f"?{TENANT}={tenant}"


def acting_of(caller: Caller, reach: Reach, query: Query, note: Callable[[str], None]) -> Acting:
    """Return whom a request acts on. Raises Refusal: 422 for a bad name, 403 for a tenant out of reach."""
    named = query.get(TENANT, caller.tenant)
    assert reach is not Reach.OWN or named == caller.tenant
    if named == caller.tenant:
        return Acting(caller.tenant, caller.tenant)
    is_all = named == EVERYONE and reach is Reach.EACH
    if not is_all and not is_tenant(named):
        also = ", or * for all" if reach is Reach.EACH else ""
        raise field_refusal([FieldError(TENANT, f"must be the name of a tenant, {TENANT_TAKES}{also}")])
    is_administered = reach is Reach.ADMINISTERED
    if not (caller.may_administer if is_administered else caller.may_operate):
        detail = _KEYS_DETAIL if is_administered else _DETAIL
        scope = Scope.ADMIN if is_administered else Scope.OPERATOR
        raise forbidden(scope, detail if caller.key_id else _KEYLESS_DETAIL)
    return Acting(caller.tenant, named, note)


_DEFAULTS = {name: getattr(TaskOptions(), name) for name in OPTION_TEXTS}


def without_content(task: Task) -> Task:
    """Return a task without its texts, for a key without the scope `read`. No call of such a key shows the input."""
    options = replace(task.options, **_DEFAULTS)
    if options.response is not None:
        options = replace(options, response={**options.response, "instructions": False})
    if options.structure is not None:
        options = replace(options, structure=options.structure._replace(name=None))
    if (source := task.source) is not None:
        source = source._replace(instructions="", output_schema=None, join_rules=None)
    return replace(task, options=options, source=source, first_line=None, result=None, value=None, quotes=())


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with its call: the values of the path's variable segments, the parsed query, and the caller.

    `check_key` raises Refusal if the key is no longer valid, as known within EVENT_KEY_SECONDS. For `key_id` and
    `may_read` see `Caller`.
    """

    api: Api
    request: Request
    parts: Mapping[str, str]
    query: Query
    check_key: Callable[[], Awaitable[object]]
    acting: Acting
    key_id: str = ""
    may_read: bool = True

    @property
    def tenant(self) -> str:
        """The tenant on whose tasks the request acts."""
        return self.acting.tenant

    @property
    def task_key(self) -> TaskKey:
        """The key of the task that the path names. Raises Refusal (404) for a malformed id, without a D1 call."""
        if not is_task_id(self.parts["id"]):
            raise no_task()
        return task_key_of(self.tenant, self.parts["id"])

    def visible(self, task: Task) -> Task:
        """Return a task as the caller may see it: without its texts if the key lacks the scope `read`."""
        return task if self.may_read else without_content(task)
