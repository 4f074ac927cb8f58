"""What calls cost."""

from typing import TYPE_CHECKING, Final

from ...kernel.feature import Feature

if TYPE_CHECKING:
    from ...kernel.domain.settings import Settings
    from ...kernel.feature import KindApi
    from ...kernel.run.kinds import CallGate
    from ...kernel.store.claims import Claim


def _gate(claim: "Claim", settings: "Settings", model: str) -> "CallGate | None":
    if not settings.prices and claim.options.max_cost is None:
        return None
    from .gate import gate_of  # noqa: PLC0415 - many deployments have no prices

    return gate_of(claim, settings, model)


def _api() -> "KindApi":
    from .dry_run import CostApi  # noqa: PLC0415 - the first request for a task imports it

    return CostApi()


COST: Final = Feature("cost", gate=_gate, api=_api)
