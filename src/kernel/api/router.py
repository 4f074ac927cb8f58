"""Answers a request: finds its call by the path's segments, runs the handler, and turns every error into an answer.

The table of calls has each call with its handler and every answer that it can give, which tests compare with the
answers. Calls that nearly every isolate receives are imported when it starts, the others in groups, with the first
request for one of a group's paths (docs/decisions/python.md#d0033).

Each request has an id, `X-Request-Id`: a header of the answer, a field of a problem, and a field of the log lines.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from ..domain import limits
from ..domain.errors import BlobUnavailable, ConfigurationError, MemoryShort, StoreError, StoreSilent
from ..feature import PathGroup
from .access import access
from .access.access import caller_of
from .base import fields, memory, problems
from .base.endpoint import Access, Answer, Endpoint, allowed
from .base.exchange import EVERYONE, Acting, Caller, Exchange, acting_of
from .base.messages import ON_EVERY_ANSWER, REQUEST_ID, Reply, Request
from .base.problems import (
    BAD_CONFIGURATION,
    DATABASE_ERROR,
    FILES_UNAVAILABLE,
    INTERNAL,
    INVALID_FIELDS,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OVERLOADED,
    PROBLEM_TYPE,
    SOON,
    UNSUPPORTED_PARAMETER,
    Refusal,
    overload_refusal,
    store_refusal,
)
from .base.services import Api
from .tasks.endpoints import endpoints as task_calls
from .tasks.events import ENDPOINTS as EVENT_CALLS
from .tasks.submission import TaskFields

Parts = Mapping[str, str]
_TAKEN = re.compile("[!-~]{1,128}")


def request_id(headers: Mapping[str, str]) -> str:
    """Return the client's `X-Request-Id` if valid, else a new one, beside the simulation's randomness."""
    own = headers.get(REQUEST_ID.lower(), "")
    return own if _TAKEN.fullmatch(own) else uuid4().hex


def named(reply: Reply, name: str) -> Reply:
    """Add the request's id to the headers of its answer, and to the body if the answer is a problem."""
    body = reply.body
    if body and reply.headers.get("Content-Type") == PROBLEM_TYPE:
        body = json.dumps(json.loads(body) | {"requestId": name}, ensure_ascii=False)
    return replace(reply, body=body, headers={**reply.headers, REQUEST_ID: name})


def _retries() -> Sequence[Endpoint]:
    from .tasks.retries import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _keys() -> Sequence[Endpoint]:
    from .access.keys import ENDPOINTS  # noqa: PLC0415 - likewise

    return ENDPOINTS


GROUPS: Final = (
    PathGroup(20, ("/api/tasks/{id}/events",), lambda: EVENT_CALLS),
    PathGroup(40, ("/api/tasks/{id}/retry",), _retries),
    PathGroup(80, ("/api/keys", "/api/keys/{id}"), _keys),
)


class Catalogue:
    """All calls of the API: the kernel's own and those of the features (`groups`). `body` is that of a submission."""

    def __init__(self, groups: Iterable[PathGroup] = (), body: type[TaskFields] = TaskFields) -> None:
        tasks = task_calls(body)
        own = (
            PathGroup(
                10, ("/api/tasks", "/api/tasks/{id}", "/api/tasks/{id}/chunks", "/api/tasks/{id}/cancel"), lambda: tasks
            ),
            PathGroup(120, ("/openapi.json",), self._description),
        )
        self.groups = sorted((*GROUPS, *own, *groups), key=lambda group: group.rank)
        # The first two names of a path are never variable, so that few paths must be compared with a request's.
        self._by_start: dict[tuple[int, str], list[tuple[str, Sequence[str], PathGroup]]] = {}
        for group in self.groups:
            for path in group.paths:
                segments = path.split("/")
                self._by_start.setdefault(_start(segments), []).append((path, segments, group))

    def at(self, path: Sequence[str]) -> tuple[Sequence[Endpoint], Parts]:
        """Return the calls for a path's segments, none if there is no such path, and its variable segments."""
        found = [
            (pattern, group, parts)
            for pattern, wanted, group in self._by_start.get(_start(path), ())
            if (parts := _parts(wanted, path)) is not None
        ]
        if not found:
            return (), {}
        # Of matching paths the one with the fewest variable segments counts: `/api/tasks/retry` is no task's.
        pattern, group, parts = min(found, key=lambda one: len(one[2]))
        return tuple(endpoint for endpoint in group.load() if endpoint.path == pattern), parts

    @cached_property
    def endpoints(self) -> Sequence[Endpoint]:
        """All calls of the API, for which the modules of all calls are imported."""
        return tuple(endpoint for group in self.groups for endpoint in group.load())

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The API's OpenAPI description. An isolate builds it once, when `/openapi.json` is first requested."""
        from . import openapi  # noqa: PLC0415 - few requests need it

        return openapi.document(self.endpoints)

    @cached_property
    def document_text(self) -> str:
        """The API's OpenAPI description as JSON."""
        return json.dumps(self.document, ensure_ascii=False)

    async def read_openapi(self, _exchange: Exchange) -> Reply:
        """Show the API's OpenAPI description."""
        return Reply(200, self.document_text, {"Content-Type": "application/json"})

    def _description(self) -> Sequence[Endpoint]:
        from .openapi import OpenapiView  # noqa: PLC0415 - few requests need it

        return (
            Endpoint(
                method="GET",
                path="/openapi.json",
                summary="Read this description",
                handler=self.read_openapi,
                access=Access.ANY_KEY,
                answers=(Answer(200, "OpenAPI 3.1", (OpenapiView,)),),
            ),
        )


def _start(path: Sequence[str]) -> tuple[int, str]:
    """Return the length of a path and its first two names, by which it is found."""
    return len(path), "/".join(path[:3])


def _parts(wanted: Sequence[str], path: Sequence[str]) -> Parts | None:
    """Return the values of a path's variable segments, None if the path does not match the equally long `wanted`."""
    parts = {}
    for expected, actual in zip(wanted, path, strict=True):
        if expected.startswith("{") and actual:
            parts[expected[1:-1]] = actual
        elif expected != actual:
            return None
    return parts


async def handle(request: Request, api: Api, catalogue: Catalogue) -> Reply:
    """Answer a request. Refusals, failures and our own errors become problems; a cancellation passes."""
    name = request_id(request.headers)
    api.log.note(request=name)
    try:
        reply = await _answer(request, api, catalogue)
    except Refusal as refusal:
        reply = refusal.reply()
    except StoreError as error:
        reply = _database_problem(error, api)
    except BlobUnavailable as error:
        api.log("files_unavailable", reason=str(error))
        reply = Refusal(FILES_UNAVAILABLE, problems.FILES_DETAIL, headers=SOON).reply()
    except MemoryShort:
        api.log("memory_short", taken_bytes=api.isolate.memory.taken)
        reply = Refusal(OVERLOADED, problems.MEMORY_DETAIL, headers=SOON).reply()
    except Exception as error:  # noqa: BLE001 - the client gets a problem, the terminal the traceback
        api.log.failure("unexpected", error)
        reply = Refusal(INTERNAL, "The service failed. Its log has the cause.").reply()
    api.invocation.begin_after_ends()
    reply = _in_shape(reply, request.url)
    return _finished(named(access.shared(reply, request, api.settings.cors_origins), name), request.method)


def _in_shape(reply: Reply, url: str) -> Reply:
    return problems.dressed(reply) if problems.is_compatible(url) else reply


def _database_problem(error: StoreError, api: Api) -> Reply:
    """Make the problem for a failure of the database. One without a known cause gets a traceback in the log."""
    refusal = store_refusal(error, api.now_ms())
    if refusal.kind is DATABASE_ERROR:
        api.log.failure("database_error", error)
    else:
        api.log("database_trouble", code=refusal.kind.code)
    return refusal.reply()


def configuration_problem(
    error: ConfigurationError, method: str = "GET", headers: Mapping[str, str] | None = None, url: str = ""
) -> Reply:
    """Answer any request to a deployment with a bad variable, for which no `Api` can be made."""
    reply = _in_shape(Refusal(BAD_CONFIGURATION, f"{error}.").reply(), url)
    return _finished(named(reply, request_id(headers or {})), method)


async def _answer(request: Request, api: Api, catalogue: Catalogue) -> Reply:
    path, query = _split(request.url)
    calls, parts = catalogue.at(path)
    if not calls:
        raise Refusal(NOT_FOUND, problems.no_path("/".join(path)))
    allow = {"Allow": allowed(calls, calls[0].path)}
    if request.method == "OPTIONS":
        return Reply(204, headers=allow)
    method = "GET" if request.method == "HEAD" else request.method
    endpoint = next((call for call in calls if call.method == method), None)
    if endpoint is None:
        raise Refusal(METHOD_NOT_ALLOWED, f"This path takes {allow['Allow']}.", headers=allow)
    if endpoint.guard is not None:
        endpoint.guard(request, api)
    if endpoint.is_shed and api.isolate.load.refuses(asyncio.get_running_loop().time()):
        # the refusal comes before the look-up of the key, which would add to the database's load
        raise overload_refusal()
    try:
        async with asyncio.timeout(endpoint.seconds_most) as time_limit:
            caller = await caller_of(request, api, endpoint.access)
            if endpoint.counted:
                await access.check(api, caller.tenant)
            async with memory.of_body(api.isolate.memory, request):
                reply = await endpoint.handler(_exchange(request, api, endpoint, parts, query, caller))
            reply = await memory.of_answer(api.isolate.memory, request, reply)
    except TimeoutError:
        if not time_limit.expired():
            raise
        raise StoreSilent("the database took too long for the request") from None
    if endpoint.counted:
        api.sweeps.look()
    return reply


def _exchange(request: Request, api: Api, endpoint: Endpoint, parts: Parts, query: str, caller: Caller) -> Exchange:
    unknown = UNSUPPORTED_PARAMETER if problems.is_compatible(endpoint.path) else INVALID_FIELDS
    known = {parameter.name for parameter in endpoint.all_parameters if parameter.place == "query"}
    asked = fields.parse(query, known, unknown)

    def note(tenant: str) -> None:
        api.log("operator_acted", call=endpoint.name, tenant=tenant, by=caller.tenant, key=caller.key_id)

    async def check_key() -> Acting:
        again = await caller_of(request, api, endpoint.access, limits.EVENT_KEY_SECONDS)
        return acting_of(again, endpoint.reach, asked, note)

    acting = acting_of(caller, endpoint.reach, asked, note)
    if acting.whose != EVERYONE:
        acting.enter(acting.whose)
    return Exchange(api, request, parts, asked, check_key, acting, caller.key_id, caller.may_read)


def _split(url: str) -> tuple[list[str], str]:
    """Return the path's decoded segments and the query. An encoded slash separates none (RFC 3986)."""
    try:
        split = urlsplit(url)
    except ValueError:
        raise Refusal(NOT_FOUND, "There is no such path.") from None
    return [unquote(segment) for segment in split.path.split("/")], split.query


def _finished(reply: Reply, method: str) -> Reply:
    headers = {**reply.headers, **ON_EVERY_ANSWER}
    if method == "HEAD":
        return Reply(reply.status, headers=headers)
    return replace(reply, headers=headers)
