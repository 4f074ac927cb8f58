"""What the table of the API's calls is made of."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel

from ..core import limits
from ..core.keys import Scope
from .acting import TENANT, Reach
from .exchange import Exchange
from .messages import Reply
from .problems import Kind


class Access(Enum):
    """Who may make a call that needs no scope."""

    PUBLIC = "anyone"
    ANY_KEY = "whoever has a valid key"
    OPERATOR = "whoever has a key of the operator's tenant with the scope `admin`"


Handler = Callable[[Exchange], Awaitable[Reply]]
_UUID: Final[Mapping[str, object]] = {"type": "string", "format": "uuid"}


class Parameter(NamedTuple):
    """A parameter of the query, or a header; `schema` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, object]
    place: Literal["query", "header"] = "query"


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "The client's name for this request. Within 24 hours the same key with the same body gives the same task, and "
    "`Idempotency-Replayed: true`; with another body it is refused.",
    {"type": "string", "pattern": f"^[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS_MOST}}}$"},
    "header",
)


_WHOSE: Final = {
    Reach.ONE: "Whose, if not the key's own tenant's; another one needs a key with the scope `operator`.",
    Reach.EACH: "Whose, if not the key's own tenant's; another one, or `*` for all, one after the other, needs a key "
    "with the scope `operator`.",
}


HOURS = Parameter(
    "hours",
    "How many hours back, at most; the last two days are kept.",
    {
        "type": "integer",
        "minimum": 1,
        "maximum": round(limits.HISTORY_SECONDS / 3600),
        "default": limits.HISTORY_HOURS_DEFAULT,
    },
)


class Answer(NamedTuple):
    """One answer that is not a problem: no body without models (typed dictionaries), one of them otherwise.

    `media_type` is one of text in which the answer may come, instead of JSON.

    `leads_to` says which calls can be made with what it holds: name, parameter, and where its value stands in the body
    (JSON pointer).
    """

    status: int
    description: str
    models: tuple[type[object], ...] = ()
    headers: tuple[str, ...] = ()
    leads_to: tuple[tuple[str, str, str], ...] = ()
    media_type: str | None = None


# What may be done with a task that an answer shows.
OF_TASK: Final = tuple(
    (name, "id", "/id") for name in ("readTask", "readChunks", "followTask", "cancelTask", "retryTask", "eraseTask")
)


class Endpoint(NamedTuple):
    """One call. A path segment in braces is open; `id_schema` is JSON Schema of it.

    `access` is the scope that a key needs, or what else is asked of a caller. `reach` says whose things the call is
    about; a key with the scope `operator` may name another tenant where that is not `OWN`. `problems` are those besides
    the ones that any call may meet, and any with this `access`. `makes_tasks`: refused while the database does not keep
    up. `seconds_most`: within this time there is an answer, whatever the database does.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    access: Scope | Access
    reach: Reach
    answers: tuple[Answer, ...]
    problems: tuple[Kind, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_optional: bool = False
    makes_tasks: bool = False
    seconds_most: float | None = None
    id_schema: Mapping[str, object] = _UUID

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The parameters that the call takes, that of its reach included."""
        if self.reach is Reach.OWN:
            return self.parameters
        schema = {"type": "string", "pattern": self.reach.value}
        return (*self.parameters, Parameter(TENANT, _WHOSE[self.reach], schema))

    @property
    def counted(self) -> bool:
        """Whether it counts against the tenant's requests."""
        return self.access is not Access.PUBLIC


def allowed(endpoints: Iterable[Endpoint], path: str) -> str:
    """Return the value of `Allow` for a path of the table."""
    methods = [endpoint.method for endpoint in endpoints if endpoint.path == path]
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
