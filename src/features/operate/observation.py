"""The handlers of operators' figures over time. `metrics` and `history` make the answers."""

from typing import Final

from ...kernel.api.base.endpoint import HOURS, Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from .figures import TEXT, HistoryView


async def read_metrics(exchange: Exchange) -> Reply:
    """Add the tasks that have ended to the sums over ended tasks, and write all metrics."""
    from .metrics import read_metrics as read  # noqa: PLC0415 - a twentieth of the whole import, for few requests

    return await read(exchange)


async def read_history(exchange: Exchange) -> Reply:
    """Add the tasks that have ended to the history, and show the history of the last hours."""
    from .history import read_history as read  # noqa: PLC0415 - the same

    return await read(exchange)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/metrics",
        summary="Read the deployment's metrics, as Prometheus does",
        handler=read_metrics,
        access=Access.OPERATOR,
        answers=(Answer(200, "Prometheus' text format, 0.0.4", media_type=TEXT),),
    ),
    Endpoint(
        method="GET",
        path="/api/history",
        summary="Read the last hours in steps of five minutes: ended tasks, bills, latencies and backlog",
        handler=read_history,
        access=Access.OPERATOR,
        parameters=(HOURS,),
        answers=(Answer(200, "The last hours", (HistoryView,)),),
    ),
)
