"""Authentication: finds the tenant and the scopes of the API key in a request's Authorization header."""

import asyncio
import re

from ...core import limits
from ...core.keys import NOBODY, Key, Scope, fingerprint, parse, proves
from ...core.tenants import LOCAL
from ..base.acting import Caller
from ..base.endpoint import Access
from ..base.messages import Request
from ..base.problems import NOT_CONFIGURED, OVERLOADED, UNAUTHENTICATED, Refusal, forbidden
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
    return Caller(key.tenant, key.id, Scope.READ in key.scopes, Scope.OPERATOR in key.scopes)


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
    if (any_key := isolate.refused.find(mark, asked_at)) is not None:
        raise _refusal(any_key=any_key)
    # The limit on look-ups in D1 is for unknown keys only. An API key that was valid in this isolate before is looked
    # up without regard to this limit.
    unknown = not cache.has_had(mark)
    if unknown and not isolate.lookups.take(asked_at):
        raise Refusal(OVERLOADED, _UNKNOWN_DETAIL, headers={"Retry-After": _UNKNOWN_SECONDS})
    revision = cache.revision
    found = await api.keys.find(presented.id)
    is_proved = proves(presented.secret, found.digest)
    if found.key is None or not is_proved:
        cache.refuse(mark)
        isolate.refused.remember(mark, any_key=found.any_key, asked_at=asked_at)
        raise _refusal(any_key=found.any_key)
    if unknown:
        isolate.lookups.give_back()
    cache.remember(mark, found.key, asked_at=asked_at, revision=revision)
    return found.key


def _refusal(*, any_key: bool) -> Refusal:
    if not any_key:
        return Refusal(NOT_CONFIGURED, _NO_KEYS_DETAIL, headers={"Retry-After": _NO_KEYS_SECONDS})
    return Refusal(UNAUTHENTICATED, _UNAUTHENTICATED_DETAIL, headers={"WWW-Authenticate": "Bearer"})
