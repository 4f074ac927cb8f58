"""The limit of requests for each tenant, if the deployment has bound a rate limiter."""

import asyncio

from ...core import limits
from ..base.problems import LIMIT_REACHED, Refusal
from ..base.services import Api

_DETAIL = "The tenant has used up its requests for this minute. Try again when the minute is over."


async def check(api: Api, tenant: str) -> None:
    """Count a request of the tenant. Raises Refusal (429) if the tenant is above its rate limit.

    If the rate limiter fails or does not answer in time, the request passes.
    """
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
