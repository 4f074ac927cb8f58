"""Ablations of a deployment's limits for its tenants, and of the safeguards for a limiter that fails or hangs."""

from dataclasses import replace

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import metered, some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS
from src.kernel.api import router
from src.kernel.api.access import access
from src.kernel.api.base.messages import Reply, Request
from src.kernel.api.base.problems import LIMIT_REACHED, Refusal
from src.kernel.api.base.services import Api
from src.kernel.api.router import Catalogue
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope

_check = access.check


_answer = router._answer


async def check_all_as_one(api: Api, _tenant: str) -> None:
    await _check(api, "all")


async def answer_and_check(request: Request, api: Api, catalogue: Catalogue) -> Reply:
    reply = await _answer(request, replace(api, rate_limiter=None), catalogue)
    if "/api/tasks" in request.url:
        await _check(api, (await access.caller_of(request, api, Scope.READ)).tenant)
    return reply


async def check_or_refuse(api: Api, tenant: str) -> None:
    assert api.rate_limiter is not None
    try:
        allowed = await api.rate_limiter.allows(tenant)
    except Exception:  # noqa: BLE001 - as in the original
        allowed = False
    if not allowed:
        again = {"Retry-After": str(limits.REQUEST_PERIOD_SECONDS)}
        raise Refusal(LIMIT_REACHED, "", headers=again, limit="requests")


ABLATIONS = (
    Ablation(
        "limit_of_tasks",
        "a tenant has no more tasks in flight than its limit",
        (without.swapped("INSERT_TASK", "< :tasks_most", "< 1000 + :tasks_most"),),
        {},
        some_tasks(*DEPLOYMENTS, variables={"MAX_TASKS_IN_FLIGHT": "1"}),
    ),
    Ablation(
        "limit_of_characters",
        "a tenant has no more characters accepted in a day than its limit",
        (without.swapped("INSERT_TASK", ":characters_most >=", "1000 + :characters_most >="),),
        {},
        some_tasks(*DEPLOYMENTS, variables={"MAX_CHARACTERS_PER_DAY": "60"}),
    ),
    Ablation(
        "requests_by_tenant",
        "a tenant's requests use up its own allowance only",
        ((access, "check", check_all_as_one),),
        {},
        metered,
    ),
    Ablation(
        "requests_before_effect",
        "a request beyond the limit of requests is refused before anything is done for it",
        ((router, "_answer", answer_and_check),),
        {},
        metered,
    ),
    Ablation(
        "failed_limiter_refuses_nothing",
        "a limiter of requests that fails lets requests through",
        ((access, "check", check_or_refuse),),
        {"rate_limiter_failed": 0.3},
        metered,
    ),
    Ablation(
        "patience_with_limiter",
        "a limiter of requests that does not answer holds no request up",
        ((limits, "RATE_LIMITER_SECONDS", 1e6),),
        {"rate_limiter_hung": 0.3},
        metered,
    ),
)
