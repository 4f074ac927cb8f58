"""What the table of the API's calls is made of."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from .calls import Call
from .ports import Reply
from .problems import Kind

Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter; `schema` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is not a problem: no body without models (typed dictionaries), one of them otherwise.

    `leads_to` says which calls can be made with what it holds: name, parameter, and where its value stands in the body
    (JSON pointer).
    """

    status: int
    description: str
    models: tuple[type[object], ...] = ()
    headers: tuple[str, ...] = ()
    leads_to: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One call. A path segment in braces is open; `problems` are those besides the ones that any call may meet.

    `counted` says whether it counts against the tenant's requests.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answers: tuple[Answer, ...]
    problems: tuple[Kind, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    counted: bool = True


def allowed(endpoints: Iterable[Endpoint], path: str) -> str:
    """Return the value of `Allow` for a path of the table."""
    methods = [endpoint.method for endpoint in endpoints if endpoint.path == path]
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
