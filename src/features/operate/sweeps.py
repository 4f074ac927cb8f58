"""`POST /api/sweep`: runs a sweep, and with `resume` ends the pauses of tasks that wait for a model that is away."""

from math import ceil
from typing import Final, NotRequired, TypedDict

from pydantic import Field

from ...kernel.api.base import problems
from ...kernel.api.base.endpoint import Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.fields import Asked, checked, read_object
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import TOO_SOON, Refusal
from ...kernel.api.base.views import Count, shown
from ...kernel.domain import limits
from ...kernel.work.sweep.on_request import TooSoon
from ...kernel.work.sweep.sweep import SweepCounts


class SweepFields(Asked):
    """The optional body of a requested sweep."""

    resume: bool | None = Field(
        None,
        description="`true` also ends the pauses of tasks that wait for a model that is away: each model is called "
        "once, and if it answers, its tasks go on. A pause for which the provider asked does not end.",
    )


@shown
class ProbedModelView(TypedDict):
    """A model for which tasks waited, and whether it answered one call; null if that is not known yet."""

    model: str
    answered: bool | None


@shown
class SweptView(TypedDict):
    """The result of a sweep, as numbers of tasks. `resumed` and `probed` are there with `resume`.

    `dispatched` counts tasks that the sweep sent to a host again, `worked` tasks that the sweep worked on itself
    because earlier dispatches were in vain, `expired` tasks whose deadline has passed, `failed` tasks that the sweep
    ended because their workers kept dying, and `erased` tasks that the sweep erased because their retention was over.
    `resumed` counts the tasks whose pauses ended, those included that called the models.
    """

    dispatched: Count
    worked: Count
    expired: Count
    failed: Count
    erased: Count
    resumed: NotRequired[Count]
    probed: NotRequired[list[ProbedModelView]]


async def sweep(exchange: Exchange) -> Reply:
    """Run a sweep, wait until its last model call has ended, and show what the sweep did."""
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST, optional=True)
    if checked(SweepFields, body).resume:
        return await _resume(exchange)
    swept = await exchange.api.sweeps.ask()
    if isinstance(swept, TooSoon):
        raise _too_soon(swept, "A sweep was requested a moment ago. At most one runs in 30 s.")
    return json_reply(200, _view(swept))


async def _resume(exchange: Exchange) -> Reply:
    done = await exchange.api.sweeps.resume()
    if isinstance(done, TooSoon):
        raise _too_soon(done, "Pauses were ended a moment ago. They can be ended once in 30 s.")
    swept, resuming = done
    models = [ProbedModelView(model=model, answered=answered) for model, answered in resuming.probed]
    return json_reply(200, SweptView(**_view(swept), resumed=resuming.resumed, probed=models))


def _too_soon(refused: TooSoon, detail: str) -> Refusal:
    return Refusal(TOO_SOON, detail, headers={"Retry-After": str(ceil(refused.left_ms / 1000))})


def _view(swept: SweepCounts) -> SweptView:
    return SweptView(
        dispatched=swept.dispatched,
        worked=swept.worked,
        expired=swept.expired,
        failed=swept.failed,
        erased=swept.erased,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/sweep",
        summary="Run a sweep now and wait for it: it resends stalled tasks or works on them; at most one in 30 s",
        handler=sweep,
        access=Access.OPERATOR,
        body=SweepFields,
        body_optional=True,
        answers=(Answer(200, "What the sweep did", (SweptView,)),),
        problems=(problems.TOO_SOON,),
    ),
)
