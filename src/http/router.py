"""Answers a request: finds its call by the path's segments, runs the handler, and turns every error into an answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from ..core import limits
from ..core.errors import BlobUnavailable, ConfigurationError, MemoryShort, StoreError, StoreSilent
from .access import cors, rate_limit
from .access.authentication import caller_of
from .base import memory, queries
from .base.acting import EVERYONE, Acting, Caller, acting_of
from .base.endpoint import Endpoint, allowed
from .base.exchange import Exchange
from .base.headers import ON_EVERY_ANSWER
from .base.messages import Reply, Request
from .base.problems import (
    DATABASE_ERROR,
    INVALID_FIELDS,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNSUPPORTED_PARAMETER,
    Refusal,
    configuration_refusal,
    files_refusal,
    internal_refusal,
    memory_refusal,
    overload_refusal,
    store_refusal,
)
from .base.request_ids import named, request_id
from .base.services import Api
from .catalogue import Catalogue, Parts
from .responses import errors


async def handle(request: Request, api: Api, catalogue: Catalogue) -> Reply:
    """Answer one request. A refusal, a failure of the database and an error of our own become problems.

    The cancellation of `handle` passes through, and so does every other error whose class is not a subclass of
    Exception.
    """
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
        reply = files_refusal().reply()
    except MemoryShort:
        api.log("memory_short", taken_bytes=api.isolate.memory.taken)
        reply = memory_refusal().reply()
    except Exception as error:  # noqa: BLE001 - the client gets a problem, the terminal the traceback
        api.log.failure("unexpected", error)
        reply = internal_refusal().reply()
    api.invocation.begin_after_ends()
    reply = _in_shape(reply, request.url)
    return _finished(named(cors.shared(reply, request, api.settings.cors_origins), name), request.method)


def _in_shape(reply: Reply, url: str) -> Reply:
    return errors.dressed(reply) if errors.is_compatible(url) else reply


def _database_problem(error: StoreError, api: Api) -> Reply:
    """Make the problem for a failure of the database.

    For the code `database_error`, which names no cause, the log gets a traceback.
    """
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
    reply = _in_shape(configuration_refusal(error).reply(), url)
    return _finished(named(reply, request_id(headers or {})), method)


async def _answer(request: Request, api: Api, catalogue: Catalogue) -> Reply:
    path, query = _split(request.url)
    calls, parts = catalogue.at(path)
    if not calls:
        raise Refusal(NOT_FOUND, errors.no_path("/".join(path)))
    allow = {"Allow": allowed(calls, calls[0].path)}
    if request.method == "OPTIONS":
        return Reply(204, headers=allow)
    method = "GET" if request.method == "HEAD" else request.method
    endpoint = next((call for call in calls if call.method == method), None)
    if endpoint is None:
        raise Refusal(METHOD_NOT_ALLOWED, f"This path takes {allow['Allow']}.", headers=allow)
    if endpoint.is_shed and api.isolate.load.refuses(asyncio.get_running_loop().time()):
        # the refusal comes before the look-up of the key, which would add to the database's load
        raise overload_refusal()
    try:
        async with asyncio.timeout(endpoint.seconds_most) as time_limit:
            caller = await caller_of(request, api, endpoint.access)
            if endpoint.counted:
                await rate_limit.check(api, caller.tenant)
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
    unknown = UNSUPPORTED_PARAMETER if errors.is_compatible(endpoint.path) else INVALID_FIELDS
    known = {parameter.name for parameter in endpoint.all_parameters if parameter.place == "query"}
    asked = queries.parse(query, known, unknown)

    def note(tenant: str) -> None:
        api.log("operator_acted", call=endpoint.name, tenant=tenant, by=caller.tenant, key=caller.key_id)

    async def check_key() -> Acting:
        again = await caller_of(request, api, endpoint.access, limits.EVENT_KEY_SECONDS)
        return acting_of(again, endpoint.reach, asked)

    acting = acting_of(caller, endpoint.reach, asked, note)
    if acting.whose is not EVERYONE:
        acting.enter(acting.whose)
    return Exchange(api, request, parts, asked, check_key, acting, caller.key_id, caller.may_read)


def _split(url: str) -> tuple[list[str], str]:
    """Return the path's segments, percent-decoded, and the query.

    In a path, an encoded slash separates no segments (RFC 3986). Bytes that are not UTF-8 become U+FFFD, which none of
    our paths contains.
    """
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
