"""The API's description, OpenAPI 3.1, made from its table and its models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypedDict

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from ..core.codes import TASK_CODES, ProblemCode, TaskCode
from ..core.keys import Scope
from .access import cors
from .base import acting, problems
from .base.endpoint import Access, Answer, Endpoint, Parameter, allowed
from .base.headers import MEANINGS, ON_EVERY_ANSWER, REQUEST_ID, SOMETIMES
from .base.problems import PROBLEM_TYPE, ProblemKind, ProblemView
from .follow import sse
from .responses import errors

Json = dict[str, Any]

# Problems of every call: unknown query parameters, and failures of the service itself.
ANYWHERE = (problems.INVALID_FIELDS, problems.INTERNAL, problems.BAD_CONFIGURATION)
# Problems of every call below `/v1`.
ANYWHERE_COMPATIBLE = (problems.UNSUPPORTED_PARAMETER, problems.INTERNAL, problems.BAD_CONFIGURATION)

_SCHEME = "key"
_FOR_OPERATORS = "Only a key of the operator's tenant (`OPERATOR_TENANT`) may do this; any other is answered 403."

_OPEN_SEGMENT = re.compile(r"\{([a-z]+)\}")
_ABOUT = """Submit a long text, get an id, poll: the text is analysed chunk by chunk, and nothing that was accepted is
lost. Sizes are in the units that their names say; times are RFC 3339 in UTC.

`HEAD` is answered wherever `GET` is, `OPTIONS` on every path. An unknown path is answered 404 (`not_found`), another
method 405 (`method_not_allowed`) with `Allow`. Problems are `application/problem+json` (RFC 9457); what identifies
one is its `code`. Below `/v1`, which speaks OpenAI's Responses API in background mode, they have the shape of OpenAI's
errors, with the same codes.

A deployment answers requests with a valid key, `Authorization: Bearer oo_<id>_<secret>`; the key decides whose tasks
are meant, and its scopes what may be done. A refused key is answered before anything else of the request is looked at.
There are four scopes, and none implies another. `read` reads tasks, events, deliveries and responses. `write` submits,
cancels, retries, erases and sends deliveries again. `admin` makes and revokes keys, and registers webhook endpoints;
sweep, metrics and history need an `admin` key of the operator's tenant (`OPERATOR_TENANT`). A key that the API makes
has `read` and `write` unless the request says otherwise; one of `make key` has these three.
A key with the scope `operator`, which `make key` alone gives, may name another tenant, `?tenant=`, for what its `read`
and `write` allow. Without that scope another tenant is 403 (`forbidden`), whether or not there is such a tenant; the
key's own name is always fine.
A key without `read` is shown no text of a task by the calls that it may make: `result` is null, `instructions` and
`metadata` are empty.
While the database does not keep up, a new task is refused before that, with 503 (`overloaded`) and `Retry-After`.
With `REQUIRE_KEYS=false`, as under `make dev`, everybody is the one tenant `local`, and no key is looked at."""


class OpenapiView(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: Mapping[str, object]
    paths: Mapping[str, object]
    components: Mapping[str, object]


def document(endpoints: Sequence[Endpoint]) -> Json:
    """Build the document."""
    paths: Json = {}
    for endpoint in endpoints:
        path = paths.setdefault(endpoint.path, _path(endpoint, endpoints))
        path[endpoint.method.lower()] = _operation(endpoint)
        if endpoint.method == "GET":
            path["head"] = _head(path["get"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onceover",
            "version": "1",
            "summary": "Text analysis, chunk by chunk",
            "description": _ABOUT,
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(endpoints),
            "headers": _shared_headers(),
            "securitySchemes": {_SCHEME: {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _path(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> Json:
    options = {
        "operationId": _only_letters(f"options{endpoint.path.title()}"),
        "summary": f"Read which methods the path takes: {allowed(endpoints, endpoint.path)}",
        "security": [],
        "responses": {
            "204": {
                "description": "Nothing but headers",
                "headers": _headers(("Allow",)) | _references(cors.ON_PREFLIGHTS),
            },
            **_refusals(endpoint, (problems.INTERNAL, problems.BAD_CONFIGURATION)),
        },
    }
    names = _OPEN_SEGMENT.findall(endpoint.path)
    if not names:
        return {"options": options}
    segments = [_segment(name, dict(endpoint.id_schema)) for name in names]
    # The methods belong to the path, whatever its variable segments contain.
    anything = [_segment(name, {"type": "string"}) for name in names]
    return {"parameters": segments, "options": options | {"parameters": anything}}


def _segment(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(endpoint: Endpoint) -> Json:
    operation: Json = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "security": _security(endpoint.access),
    }
    if endpoint.access is Access.OPERATOR:
        operation["description"] = _FOR_OPERATORS
    if endpoint.all_parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in endpoint.all_parameters]
    if endpoint.body is not None:
        content = {"application/json": {"schema": _reference(endpoint.body)}}
        operation["requestBody"] = {"required": not endpoint.body_optional, "content": content}
    answers = {str(answer.status): _answer(answer) for answer in endpoint.answers}
    counted = (problems.LIMIT_REACHED,) if endpoint.counted else ()
    anywhere = ANYWHERE_COMPATIBLE if errors.is_compatible(endpoint.path) else ANYWHERE
    refusals = _refusals(endpoint, (*endpoint.problems, *counted, *_access_problems(endpoint.access), *anywhere))
    assert not answers.keys() & refusals.keys()
    operation["responses"] = dict(sorted((answers | refusals).items()))
    return operation


def _security(access: Scope | Access) -> list[Json]:
    """Return the schemes that admit a caller. Without OAuth each one's list names roles (OpenAPI 3.1.0, 4.8.30)."""
    if access is Access.PUBLIC:
        return []
    scope = Scope.ADMIN if access is Access.OPERATOR else access
    return [{_SCHEME: [scope.value] if isinstance(scope, Scope) else []}]


def _access_problems(access: Scope | Access) -> tuple[ProblemKind, ...]:
    if access is Access.PUBLIC:
        return ()
    forbidden = () if access is Access.ANY_KEY else (problems.FORBIDDEN,)
    return (*problems.KEY_KINDS, *forbidden, *problems.DATABASE_KINDS)


def _head(get: Json) -> Json:
    """Describe HEAD: what GET answers, without the content."""
    responses = {
        status: {name: value for name, value in response.items() if name not in {"content", "links"}}
        for status, response in get["responses"].items()
    }
    name, summary = get["operationId"], get["summary"]
    return get | {"operationId": f"{name}Head", "summary": f"{summary}: headers only", "responses": responses}


def _parameter(parameter: Parameter) -> Json:
    described = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    # In a query an empty value counts as absent, but an empty tenant is refused.
    is_absent = parameter.place == "query" and parameter.name != acting.TENANT
    return described | ({"allowEmptyValue": True} if is_absent else {})


# The fields of an event in a stream. Before OpenAPI 3.2 the schema of such an answer describes each event.
_EVENT: Json = {
    "type": "object",
    "description": "One event of the stream. Its `data` is JSON.",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
}


def _answer(answer: Answer) -> Json:
    described: Json = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.models:
        references = [_reference(model) for model in answer.models]
        schema = references[0] if len(references) == 1 else {"anyOf": references}
        described["content"] = {"application/json": {"schema": schema}}
    if answer.media_type is not None:
        schema = _EVENT if answer.media_type == sse.MEDIA_TYPE else {"type": "string"}
        described.setdefault("content", {})[answer.media_type] = {"schema": schema}
    if answer.leads_to:
        described["links"] = {
            name: {"operationId": name, "parameters": {parameter: f"$response.body#{pointer}"}}
            for name, parameter, pointer in answer.leads_to
        }
    return described


def _problems(kinds: Iterable[ProblemKind]) -> Json:
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in found),
            "headers": _headers(dict.fromkeys(name for kind in found for name in kind.headers)),
            "content": {PROBLEM_TYPE: {"schema": _problem_schema(found)}},
        }
        for status, found in by_status.items()
    }


def _refusals(endpoint: Endpoint, kinds: Iterable[ProblemKind]) -> Json:
    return _errors(kinds) if errors.is_compatible(endpoint.path) else _problems(kinds)


def _errors(kinds: Iterable[ProblemKind]) -> Json:
    """Describe problems as they are answered below `/v1`."""
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(errors.status_of(kind.code, kind.status), []).append(kind)
    return {
        str(status): {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in found),
            "headers": _headers(dict.fromkeys(name for kind in found for name in errors.headers_of(kind))),
            "content": {"application/json": {"schema": _error_schema(found)}},
        }
        for status, found in by_status.items()
    }


def _error_schema(kinds: Sequence[ProblemKind]) -> Json:
    code = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    return {"allOf": [_reference(errors.ErrorView), {"properties": {"error": code}}]}


def _problem_schema(kinds: Sequence[ProblemKind]) -> Json:
    narrowed = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    return {"allOf": [_reference(ProblemView), narrowed]}


def _headers(names: Iterable[str]) -> Json:
    described = {
        name: {"description": MEANINGS[name], "required": name not in SOMETIMES, "schema": {"type": "string"}}
        for name in names
    }
    return described | _references((*ON_EVERY_ANSWER, REQUEST_ID, *cors.ON_ANSWERS))


def _references(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _shared_headers() -> Json:
    always = {
        name: {
            "description": "The same on every answer.",
            "required": True,
            "schema": {"type": "string", "const": value},
        }
        for name, value in ON_EVERY_ANSWER.items()
    }
    with_cors = {
        name: {"description": f"With CORS only. {meaning}", "schema": {"type": "string"}}
        for name, meaning in (cors.ON_ANSWERS | cors.ON_PREFLIGHTS).items()
    }
    meaning = "The caller's own, if it is 1 to 128 visible ASCII characters, else a fresh one. The log has it, too."
    name: Json = {REQUEST_ID: {"description": meaning, "required": True, "schema": {"type": "string"}}}
    return always | name | with_cors


def _schemas(endpoints: Sequence[Endpoint]) -> Json:
    """Describe every body. pydantic's validators for that are built here, not when the isolate starts."""
    wanted: dict[str, tuple[type[object], JsonSchemaMode]] = {
        view.__name__: (view, "serialization") for view in (ProblemView, errors.ErrorView)
    }
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted[endpoint.body.__name__] = (endpoint.body, "validation")
        wanted |= {model.__name__: (model, "serialization") for answer in endpoint.answers for model in answer.models}
    adapters = [(name, mode, TypeAdapter(model)) for name, (model, mode) in wanted.items()]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    found: Json = definitions["$defs"]
    _explain(found, TaskCode, TASK_CODES)
    _explain(found, ProblemCode, {kind.code: f"{kind.title}." for kind in problems.KINDS})
    return found


def _explain(schemas: Json, codes: type[StrEnum], meanings: Mapping[Any, str]) -> None:
    """Add the meaning of each value of an enumeration. ReDoc shows it."""
    schemas[codes.__name__]["x-enumDescriptions"] = {code.value: meanings[code] for code in codes}


def _reference(model: type[object]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _only_letters(text: str) -> str:
    return "".join(char for char in text if char.isalpha())
