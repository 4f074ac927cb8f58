"""Which requests may act: finds the tenant and scopes of an API key, limits each tenant's requests, and handles CORS.

Cross-origin requests (Fetch Standard, CORS protocol) are off unless `CORS_ORIGINS` lists an exact origin. No answer
allows a browser's credentials, such as cookies: a page's script sends the API key in a header.
"""

import asyncio
import re
from collections.abc import Collection
from dataclasses import replace

from ...domain import limits
from ...domain.ids import LOCAL
from ...domain.keys import NOBODY, Key, Scope, fingerprint, parse, proves
from ..base.endpoint import Access
from ..base.exchange import Caller
from ..base.messages import Reply, Request
from ..base.problems import LIMIT_REACHED, NOT_CONFIGURED, OVERLOADED, UNAUTHENTICATED, Refusal, forbidden
from ..base.services import Api

# An Authorization header is the scheme in upper or lower case, then one token (RFC 9110). If a client sends the header
# twice, the Worker gets both values joined by a comma, which `_BEARER` does not match.
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)

_NO_KEYS_DETAIL = (
    "This deployment has no API keys yet. Make the first one with `make key` locally, or with "
    '`make key ARGS="--remote"` for a deployed Worker.'
)
_NO_KEYS_SECONDS = "60"  # `Retry-After` while the deployment has no keys, since an operator has to make one first
_UNKNOWN_DETAIL = "Too many unknown keys are being tried. If yours is valid, send the request again."
_UNKNOWN_SECONDS = "1"
_UNAUTHENTICATED_DETAIL = "Send a valid API key: `Authorization: Bearer oo_…`."


async def caller_of(
    request: Request, api: Api, access: Scope | Access, within: float = limits.KEY_CACHE_SECONDS
) -> Caller:
    """Return the caller of a request: the tenant of its API key, the key's id, and what the key may do.

    Raises Refusal: 401 for every kind of invalid key, 403 for a key without the scope, 503 while no keys exist or if
    too many unknown keys are being tried. The look-up costs one D1 call, or none if this isolate remembers a recent
    answer of D1 about the presented text. D1's answer that a key is valid is trusted for `within` seconds.
    """
    if access is Access.PUBLIC or not api.settings.require_keys:
        return Caller(LOCAL, "")
    key = await _key(request, api, within)
    scope = Scope.ADMIN if access is Access.OPERATOR else access
    if isinstance(scope, Scope) and scope not in key.scopes:
        raise forbidden(scope)
    if access is Access.OPERATOR and key.tenant != api.settings.operator_tenant:
        raise forbidden(Scope.ADMIN, "This call needs a key of the tenant that OPERATOR_TENANT names.")
    is_administrator = Scope.ADMIN in key.scopes and key.tenant == api.settings.operator_tenant
    return Caller(key.tenant, key.id, Scope.READ in key.scopes, Scope.OPERATOR in key.scopes, is_administrator)


async def _key(request: Request, api: Api, within: float) -> Key:
    header = _BEARER.fullmatch(request.headers.get("authorization", ""))
    text = "" if header is None else header[1]
    # A well-formed and a malformed key are looked up alike, so the time of the answer tells a client nothing about
    # keys. All malformed keys share one fingerprint, so they are looked up only once.
    presented = parse(text) or NOBODY
    mark, asked_at = fingerprint(text if presented is not NOBODY else ""), asyncio.get_running_loop().time()
    cache, isolate = api.isolate.keys, api.isolate
    if (known := cache.find(mark, asked_at, api.now_ms(), within)) is not None:
        return known
    if (any_key := isolate.refused.answer(mark, asked_at, limits.REFUSED_CACHE_SECONDS)) is not None:
        raise _refusal(any_key=any_key)
    # The limit on look-ups in D1 is for unknown keys only, and not for one that was valid in this isolate.
    unknown = not cache.has_had(mark)
    if unknown and not isolate.lookups.take(asked_at):
        raise Refusal(OVERLOADED, _UNKNOWN_DETAIL, headers={"Retry-After": _UNKNOWN_SECONDS})
    revision = cache.revision
    found = await api.keys.find(presented.id)
    is_proved = proves(presented.secret, found.digest)
    if found.key is None or not is_proved:
        cache.refuse(mark)
        isolate.refused.keep(mark, found.any_key, asked_at)
        raise _refusal(any_key=found.any_key)
    if unknown:
        isolate.lookups.give_back()
    cache.remember(mark, found.key, asked_at=asked_at, revision=revision)
    return found.key


def _refusal(*, any_key: bool) -> Refusal:
    if not any_key:
        return Refusal(NOT_CONFIGURED, _NO_KEYS_DETAIL, headers={"Retry-After": _NO_KEYS_SECONDS})
    return Refusal(UNAUTHENTICATED, _UNAUTHENTICATED_DETAIL, headers={"WWW-Authenticate": "Bearer"})


# How many seconds a browser may remember a preflight's answer, which Chromium caps at 7,200 s.
_MAX_AGE = "7200"

# `ON_ANSWERS` are the CORS headers of answers to a listed origin; `ON_PREFLIGHTS` only a preflight's has.
ON_ANSWERS = {
    "Vary": "`Origin`, wherever CORS is on.",
    "Access-Control-Allow-Origin": "The request's origin, if `CORS_ORIGINS` lists it.",
    "Access-Control-Expose-Headers": "Which headers a page of that origin may read.",
}
ON_PREFLIGHTS = {
    "Access-Control-Allow-Methods": "The methods that the path takes.",
    "Access-Control-Allow-Headers": "The headers that a request may carry.",
    "Access-Control-Max-Age": "Seconds for which this answer may be remembered.",
}

_EXPOSED = (
    "Location, Retry-After, Idempotency-Replayed, Allow, WWW-Authenticate, X-Request-Id, openai-poll-after-ms, "
    "x-should-retry, X-Incomplete, X-Last-Line"
)
_SENDABLE = "Authorization, Content-Type, Idempotency-Key, X-Request-Id, Last-Event-ID"
_OF_MCP = "MCP-Protocol-Version, Mcp-Method, Mcp-Name"
# Further request headers that OpenAI's SDK for JavaScript sends, so a preflight must allow them.
_OF_SDKS = (
    "OpenAI-Organization, OpenAI-Project, User-Agent, X-Stainless-Arch, X-Stainless-Async, "
    "X-Stainless-Custom-Poll-Interval, X-Stainless-Helper-Method, X-Stainless-Lang, X-Stainless-OS, "
    "X-Stainless-Package-Version, X-Stainless-Poll-Helper, X-Stainless-Read-Timeout, X-Stainless-Retry-Count, "
    "X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout"
)


def shared(reply: Reply, request: Request, origins: Collection[str]) -> Reply:
    """Add the CORS headers for pages of the listed origins; none if `CORS_ORIGINS` lists no origin."""
    if not origins:
        return reply
    headers = {**reply.headers, "Vary": "Origin"}
    origin = request.headers.get("origin")
    if origin is not None and origin in origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        is_preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
        if is_preflight and reply.status == 204:
            headers["Access-Control-Allow-Methods"] = reply.headers["Allow"]
            headers["Access-Control-Allow-Headers"] = ", ".join((_SENDABLE, _OF_MCP, _OF_SDKS))
            headers["Access-Control-Max-Age"] = _MAX_AGE
    return replace(reply, headers=headers)


_DETAIL = "The tenant has used up its requests for this minute. Try again when the minute is over."


async def check(api: Api, tenant: str) -> None:
    """Count a request. Raises Refusal (429) above the tenant's limit. If the limiter fails, it passes."""
    if api.rate_limiter is None:
        return
    try:
        async with asyncio.timeout(limits.RATE_LIMITER_SECONDS):
            allowed = await api.rate_limiter.allows(tenant)
    except Exception as error:  # noqa: BLE001 - bindings raise any type
        api.log("rate_limiter_failed", error=type(error).__name__)
        return
    if not allowed:
        again = {"Retry-After": str(limits.REQUEST_PERIOD_SECONDS)}
        raise Refusal(LIMIT_REACHED, _DETAIL, headers=again, limit="requests")
