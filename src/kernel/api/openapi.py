"""Makes the API's description, OpenAPI 3.1, from the table of calls and the models of their bodies."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypedDict

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from ..domain import limits
from ..domain.codes import TASK_CODES
from ..domain.keys import Scope
from .access import access as cors
from .base import exchange, problems
from .base.endpoint import IDEMPOTENCY_KEY, Access, Answer, Endpoint, Parameter, allowed
from .base.fields import extra_names
from .base.messages import MEANINGS, ON_EVERY_ANSWER, REQUEST_ID, SOMETIMES
from .base.problems import PROBLEM_TYPE, ProblemKind, ProblemView
from .follow import sse

Json = dict[str, Any]

_OWN_FAULTS = (problems.INTERNAL, problems.BAD_CONFIGURATION)

_SCHEME = "key"
_FOR_OPERATORS = "Only a key of the operator's tenant (`OPERATOR_TENANT`) may do this. Other keys get 403."

_OPEN_SEGMENT = re.compile(r"\{([a-z]+)\}")
_ABOUT = """Submit a long text, get an id, poll. The service analyses the text chunk by chunk. It loses nothing that it
has accepted. Field names give the units of sizes. Times are RFC 3339 in UTC.

Each path that takes `GET` also takes `HEAD`, and every path takes `OPTIONS`. An unknown path gets 404 (`not_found`).
Another method gets 405 (`method_not_allowed`) with `Allow`. Problems are `application/problem+json` (RFC 9457), and
`code` identifies a problem. The paths below `/v1` have the shapes of OpenAI's API: responses in background
mode, files, batches, models and webhook endpoints. Their problems have the same codes, in the shape of OpenAI's errors.

Requests to a deployment need a valid key, `Authorization: Bearer oo_<id>_<secret>`. The key decides whose tasks are
meant. Its scopes decide what it may do. The service checks the key before the rest of the request.
There are four scopes, and none implies another. `read` reads tasks, events, deliveries and responses. `write` submits,
cancels, retries, erases and sends deliveries again. `admin` makes and revokes keys, and registers webhook endpoints.
Sweep, metrics and history need an `admin` key of the operator's tenant (`OPERATOR_TENANT`). A key that the API makes
has `read` and `write` unless the request says otherwise. A key of `make key` has these three.
A key with the scope `operator` may name another tenant, `?tenant=`, for what its `read` and `write` allow. Only
`make key` grants this scope. Without it, another tenant is 403 (`forbidden`), whether or not that tenant exists. A key
may always name its own tenant.
A key without `read` sees no text of a task: `result` is null, and `instructions` and `metadata` are empty.
While the database is overloaded, the service refuses a new task or file before it checks the key, with 503
(`overloaded`) and `Retry-After`.
With `REQUIRE_KEYS=false`, as under `make dev`, every request belongs to the tenant `local`, and no key is checked."""


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
        "operationId": "options" + "".join(filter(str.isalpha, endpoint.path.title())),
        "summary": f"Read which methods the path takes: {allowed(endpoints, endpoint.path)}",
        "security": [],
        "responses": {
            "204": {"description": "Headers only", "headers": _headers(("Allow",)) | _references(cors.ON_PREFLIGHTS)},
            **_refusals(endpoint, _OWN_FAULTS),
        },
    }
    names = _OPEN_SEGMENT.findall(endpoint.path)
    if not names:
        return {"options": options}
    segments = [_segment(name, dict(endpoint.id_schema)) for name in names]
    # OPTIONS answers for any value of a variable segment, because a path takes the same methods for all values.
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
        content = {endpoint.body_type: {"schema": _reference(endpoint.body)}}
        operation["requestBody"] = {"required": not endpoint.body_optional, "content": content}
    answers = {str(answer.status): _answer(answer) for answer in endpoint.answers}
    refusals = _refusals(endpoint, _kinds(endpoint))
    for status in answers.keys() & refusals.keys():  # the answers of another protocol beside our problems
        refusals[status]["content"] |= answers.pop(status)["content"]
    operation["responses"] = dict(sorted((answers | refusals).items()))
    return operation


def _security(access: Scope | Access) -> list[Json]:
    """Return OpenAPI's `security` of a call. Beside OAuth, the list names roles (OpenAPI 3.1.0, 4.8.30)."""
    if access is Access.PUBLIC:
        return []
    scope = Scope.ADMIN if access is Access.OPERATOR else access
    return [{_SCHEME: [scope.value] if isinstance(scope, Scope) else []}]


def _kinds(endpoint: Endpoint) -> Iterator[ProblemKind]:
    """Derive the kinds of problems that a call may answer, from its path, access, parameters and body."""
    is_compatible = problems.is_compatible(endpoint.path)
    if endpoint.body is not None:
        yield from problems.BODY_KINDS
    if is_compatible and (endpoint.body is not None or endpoint.all_parameters):
        yield problems.INVALID_FIELDS
    if IDEMPOTENCY_KEY in endpoint.parameters:
        yield from problems.IDEMPOTENCY_KINDS
    yield from endpoint.problems
    if _OPEN_SEGMENT.search(endpoint.path):
        yield problems.NOT_FOUND
    if endpoint.counted:
        yield from (problems.LIMIT_REACHED, *problems.DATABASE_KINDS, *problems.KEY_KINDS)
    if endpoint.access not in {Access.PUBLIC, Access.ANY_KEY}:
        yield problems.FORBIDDEN
    # Every call refuses unknown query parameters, and every call may fail by a fault of the service itself.
    yield problems.UNSUPPORTED_PARAMETER if is_compatible else problems.INVALID_FIELDS
    yield from _OWN_FAULTS


def _head(get: Json) -> Json:
    """Describe the method HEAD of a path: the answers of GET without their content."""
    responses = {
        status: {name: value for name, value in response.items() if name not in {"content", "links"}}
        for status, response in get["responses"].items()
    }
    name, summary = get["operationId"], get["summary"]
    return get | {"operationId": f"{name}Head", "summary": f"{summary}: headers only", "responses": responses}


def _parameter(one: Parameter) -> Json:
    described = {"name": one.name, "in": one.place, "description": one.description, "schema": dict(one.schema)}
    # A query parameter with an empty value counts as absent, except `tenant`, which is refused.
    is_absent = one.place == "query" and one.name != exchange.TENANT
    return described | ({"allowEmptyValue": True} if is_absent else {})


# The fields of a server-sent event, as OpenAPI's schema describes them. Before OpenAPI 3.2 the schema of an event
# stream describes a single event of the stream.
_EVENT: Json = {
    "type": "object",
    "description": "One event of the stream. Its `data` is JSON.",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
}

# The contents of answers that are neither JSON nor plain text, by media type.
_FORMATS = {sse.MEDIA_TYPE: _EVENT, "application/octet-stream": {"type": "string", "format": "binary"}}


def _answer(answer: Answer) -> Json:
    described: Json = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.models:
        references = [_reference(model) for model in answer.models]
        schema = references[0] if len(references) == 1 else {"anyOf": references}
        described["content"] = {"application/json": {"schema": schema}}
    if answer.media_type is not None:
        schema = _FORMATS.get(answer.media_type, {"type": "string"})
        described.setdefault("content", {})[answer.media_type] = {"schema": schema}
    if answer.leads_to:
        described["links"] = {
            name: {"operationId": name, "parameters": {parameter: f"$response.body#{pointer}"}}
            for name, parameter, pointer in answer.leads_to
        }
    return described


def _refusals(endpoint: Endpoint, kinds: Iterable[ProblemKind]) -> Json:
    """Describe the problems of a call by status: below `/v1` in the shape, statuses and headers of OpenAI's errors."""
    is_compatible = problems.is_compatible(endpoint.path)
    media_type = "application/json" if is_compatible else PROBLEM_TYPE
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in dict.fromkeys(kinds):
        status = problems.status_of(kind.code, kind.status) if is_compatible else kind.status
        by_status.setdefault(status, []).append(kind)
    described: Json = {}
    for status, found in by_status.items():
        headers = [problems.headers_of(kind) if is_compatible else kind.headers for kind in found]
        codes: Json = {"properties": {"code": {"enum": [kind.code for kind in found]}}}
        shape = (problems.ErrorView, {"properties": {"error": codes}}) if is_compatible else (ProblemView, codes)
        described[str(status)] = {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in found),
            "headers": _headers(dict.fromkeys(chain.from_iterable(headers))),
            "content": {media_type: {"schema": {"allOf": [_reference(shape[0]), shape[1]]}}},
        }
    return described


def _headers(names: Iterable[str]) -> Json:
    described = {
        name: {"description": MEANINGS[name], "required": name not in SOMETIMES, "schema": {"type": "string"}}
        for name in names
    }
    return described | _references((*ON_EVERY_ANSWER, REQUEST_ID, *cors.ON_ANSWERS))


def _references(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _shared_headers() -> Json:
    same: Json = {"description": "The same on every answer.", "required": True}
    always = {name: same | {"schema": {"type": "string", "const": value}} for name, value in ON_EVERY_ANSWER.items()}
    with_cors = {
        name: {"description": f"With CORS only. {meaning}", "schema": {"type": "string"}}
        for name, meaning in (cors.ON_ANSWERS | cors.ON_PREFLIGHTS).items()
    }
    meaning = "The caller's own id if it has 1 to 128 visible ASCII characters, else a fresh one. The log has it too."
    name: Json = {REQUEST_ID: {"description": meaning, "required": True, "schema": {"type": "string"}}}
    return always | name | with_cors


def _schemas(endpoints: Sequence[Endpoint]) -> Json:
    """Describe the bodies of requests and answers. Their validators are built here, not at the isolate's start."""
    wanted: dict[str, tuple[type[object], JsonSchemaMode]] = {
        view.__name__: (view, "serialization") for view in (ProblemView, problems.ErrorView)
    }
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted[endpoint.body.__name__] = (endpoint.body, "validation")
        wanted |= {model.__name__: (model, "serialization") for answer in endpoint.answers for model in answer.models}
    adapters = [(name, mode, TypeAdapter(model)) for name, (model, mode) in wanted.items()]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    found: Json = definitions["$defs"]
    for name in dict.fromkeys(name for one in endpoints if one.body for name in extra_names(one.body)):
        for view in (view for view in found.values() if {"usage", "expiresAt"} <= view.get("properties", {}).keys()):
            view["properties"][name] = {"type": "string", "maxLength": limits.EXTRA_CHARS_MOST}
    # ReDoc shows the meaning of each value.
    found["TaskCode"]["x-enumDescriptions"] = {code.value: meaning for code, meaning in TASK_CODES.items()}
    found["ProblemCode"]["x-enumDescriptions"] = {kind.code: f"{kind.title}." for kind in problems.KINDS}
    return found


def _reference(model: type[object]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
