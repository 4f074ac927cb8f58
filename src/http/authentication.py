"""Who calls, and what they may do: from the Authorization header to a tenant."""

import asyncio
import re

from ..core.keys import NOBODY, Key, Scope, fingerprint, parse, proves
from ..core.tenants import LOCAL
from .endpoint import Access
from .messages import Request
from .problems import FORBIDDEN, NOT_CONFIGURED, UNAUTHENTICATED, Refusal
from .services import Api

# RFC 9110: the scheme in any case, then one token. Headers that were sent twice arrive joined, and do not match.
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)

_NO_KEYS_DETAIL = (
    "This deployment has no API keys yet. Make the first one with `make key` locally, or with "
    '`make key ARGS="--remote"` for a deployed Worker.'
)
_NO_KEYS_SECONDS = "60"  # somebody has to make one
_UNAUTHENTICATED_DETAIL = "Send a valid API key: `Authorization: Bearer oo_…`."


async def tenant_of(request: Request, api: Api, access: Scope | Access) -> str:
    """Return the tenant whose key the request carries.

    Raises Refusal: 401 without a valid key, the same for whatever is wrong with it; 403 for a key without the scope;
    503 while there are no keys at all. Costs one D1 call, none if this isolate has had a valid key's answer lately.
    """
    if access is Access.PUBLIC or not api.settings.require_keys:
        return LOCAL
    key = await _key(request, api)
    if isinstance(access, Scope) and access not in key.scopes:
        challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{access}"'}
        raise Refusal(FORBIDDEN, f"This call needs a key with the scope `{access}`.", headers=challenge)
    return key.tenant


async def _key(request: Request, api: Api) -> Key:
    header = _BEARER.fullmatch(request.headers.get("authorization", ""))
    text = "" if header is None else header[1]
    # From here on the same work is done for any text: a client that has no key learns nothing about any.
    mark, asked_at = fingerprint(text), asyncio.get_running_loop().time()
    cache = api.isolate.keys
    if (known := cache.find(mark, asked_at, api.now_ms())) is not None:
        return known
    revision = cache.revision
    presented = parse(text) or NOBODY
    found = await api.keys.find(presented.id)
    is_proved = proves(presented.secret, found.digest)
    if found.key is None or not is_proved:
        if not found.any_key:
            raise Refusal(NOT_CONFIGURED, _NO_KEYS_DETAIL, headers={"Retry-After": _NO_KEYS_SECONDS})
        raise Refusal(UNAUTHENTICATED, _UNAUTHENTICATED_DETAIL, headers={"WWW-Authenticate": "Bearer"})
    cache.remember(mark, found.key, asked_at=asked_at, revision=revision)
    return found.key
