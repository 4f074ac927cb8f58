"""The types of the entries in the API's table of calls."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from ...domain import limits
from ...domain.keys import Scope
from .exchange import TENANT, Exchange, Reach
from .messages import Reply, Request
from .problems import ProblemKind
from .services import Api


class Access(Enum):
    """Who may make a call that needs no scope."""

    PUBLIC = "anyone"
    ANY_KEY = "any valid key"
    OPERATOR = "a key of the operator's tenant with the scope `admin`"


Handler = Callable[[Exchange], Awaitable[Reply]]
Guard = Callable[[Request, Api], None]
_UUID: Final[Mapping[str, object]] = {"type": "string", "format": "uuid"}


class Parameter(NamedTuple):
    """A query parameter or a header of a call. `schema` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, object]
    place: Literal["query", "header"] = "query"


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "The client's name for this request. Within 24 hours, the same key with the same body gives the same "
    "task, with `Idempotency-Replayed: true`. The same key with another body is refused.",
    {"type": "string", "pattern": f"^[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MOST}}}$"},
    "header",
)

_WHOSE: Final = {
    Reach.ONE: "The tenant to act on, by default the key's own. Another one needs a key with the scope `operator`.",
    Reach.ADMINISTERED: "The tenant whose keys are meant, by default the key's own. Another one needs a key with the "
    "scope `admin` of the tenant that `OPERATOR_TENANT` names.",
    Reach.EACH: "The tenant to act on, by default the key's own. Another one, or `*` for all in turn, needs a key with "
    "the scope `operator`.",
}

_HOURS_MOST = round(limits.HISTORY_SECONDS / 3600)
HOURS = Parameter(
    "hours",
    "How many hours to look back. Two days are kept.",
    {"type": "integer", "minimum": 1, "maximum": _HOURS_MOST, "default": limits.HISTORY_HOURS_DEFAULT},
)


class Answer(NamedTuple):
    """One answer, other than a refusal, that a call may give.

    Its body is one of `models`, typed dictionaries, or empty without. `media_type` is a format instead of JSON.
    `leads_to` lists calls that take a value of the body: their names, their parameters, and JSON pointers to the
    values.
    """

    status: int
    description: str
    models: tuple[type[object], ...] = ()
    headers: tuple[str, ...] = ()
    leads_to: tuple[tuple[str, str, str], ...] = ()
    media_type: str | None = None


# The further calls (`leads_to`) that an answer with a task offers, with the task's id.
OF_TASK: Final = tuple(
    (name, "id", "/id") for name in ("readTask", "readChunks", "followTask", "cancelTask", "retryTask", "eraseTask")
)


class Endpoint(NamedTuple):
    """One call of the API. A path segment in braces is variable, and `id_schema` is its JSON Schema.

    `access` is the scope that a key needs, or another requirement. `reach` says which tenants a request may name: with
    `OWN` only the key's own, otherwise a key that may reach another one may name it. `problems` are the
    refusals that the handler itself makes, and `openapi` derives the other refusals from path, access, parameters and
    body. `guard` may refuse a request before its key is looked up. A call that `is_shed` is refused while the database
    is overloaded. A call with `seconds_most` is answered within that time, even if the database is slow.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    access: Scope | Access
    answers: tuple[Answer, ...]
    reach: Reach = Reach.OWN
    problems: tuple[ProblemKind, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    body_optional: bool = False
    guard: Guard | None = None
    is_shed: bool = False
    seconds_most: float | None = None
    id_schema: Mapping[str, object] = _UUID

    @property
    def name(self) -> str:
        """The call's operation id in OpenAPI: the handler's name in camel case. Operation ids never change."""
        return to_camel(self.handler.__name__)

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that the call takes, with `tenant` if a request may name another tenant."""
        if self.reach is Reach.OWN:
            return self.parameters
        schema = {"type": "string", "pattern": self.reach.value}
        return (*self.parameters, Parameter(TENANT, _WHOSE[self.reach], schema))

    @property
    def counted(self) -> bool:
        """Whether the call counts against the tenant's rate limit."""
        return self.access is not Access.PUBLIC


def allowed(endpoints: Iterable[Endpoint], path: str) -> str:
    """Return the value of the header `Allow` for a path of the API's table of calls."""
    methods = [endpoint.method for endpoint in endpoints if endpoint.path == path]
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
