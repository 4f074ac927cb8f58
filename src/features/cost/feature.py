"""What calls cost."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Calls, Feature, MakeDuty, PathGroup

if TYPE_CHECKING:
    from ...kernel.domain.settings import Settings
    from ...kernel.feature import KindApi
    from ...kernel.run.kinds import CallGate
    from ...kernel.run.log import Log
    from ...kernel.store.claims import Claim
    from ...kernel.work.submission import TaskRequest


def _gate(claim: "Claim", settings: "Settings", model: str, log: "Log") -> "CallGate | None":
    if not (settings.prices or claim.options.max_cost is not None or claim.capped):
        return None
    from .gate import gate_of  # noqa: PLC0415 - many deployments have no prices

    return gate_of(claim, settings, model, log)


def _api() -> "KindApi":
    from .dry_run import CostApi  # noqa: PLC0415 - the first request for a task imports it

    return CostApi()


def _first_most(settings: "Settings", default_model: str, request: "TaskRequest", first: str) -> int:
    if not settings.prices:
        return -1
    from .dry_run import first_most  # noqa: PLC0415 - likewise

    return first_most(request, first, settings, default_model)


def _limits() -> Calls:
    from .caps import ENDPOINTS  # noqa: PLC0415 - the first request for a path imports its calls

    return ENDPOINTS


def _duty() -> MakeDuty:
    from .caps import WakingDuty  # noqa: PLC0415 - an isolate's start imports it by `at_start`

    return WakingDuty


COST: Final = Feature(
    "cost",
    groups=(PathGroup(75, ("/api/tenants/{name}/limits",), _limits),),
    gate=_gate,
    first_most=_first_most,
    api=_api,
    duty=_duty,
    at_start=_duty,
)
