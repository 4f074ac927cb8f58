"""The building blocks of the bodies of the API's answers.

They are typed dictionaries, which need no validators, so the isolate's start builds none.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypedDict

from pydantic import ConfigDict, Field, with_config

from ...domain import task as core
from ...domain.codes import TaskCode
from ...domain.prices import written

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-05T12:00:00.000Z"])]

shown = with_config(ConfigDict(extra="forbid"))


@shown
class FailureView(TypedDict):
    """Why a task or a chunk failed. `retryable` says whether another try can help."""

    code: TaskCode
    message: str
    retryable: bool


@shown
class FailedTasksView(TypedDict):
    """How many tasks failed with one code."""

    code: TaskCode
    tasks: Count


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(milliseconds: int) -> str:
    """Write a time as RFC 3339 in UTC, with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_rfc3339(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339, or None for None."""
    return None if milliseconds is None else rfc3339(milliseconds)


def failure_view(failure: core.Failure | None) -> FailureView | None:
    """Show a failure."""
    if failure is None:
        return None
    return FailureView(code=failure.code, message=failure.message, retryable=failure.retryable)


Amount = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{9}$")]


@shown
class CostView(TypedDict):
    """What model calls cost, in dollars. `inDoubt` is the most that calls in doubt can cost; `amount` leaves it out."""

    amount: Amount
    currency: Literal["USD"]
    inDoubt: Amount


@shown
class PlannedCostView(TypedDict):
    """The costs of the calls that are needed without failures, in dollars.

    `least` has the estimated tokens of the input, and no output. `most` has a token for each byte of the calls, and as
    many output tokens as they may have; it is null if nothing limits them.
    """

    least: Amount
    most: Amount | None


def amount_view(amount: int, in_doubt: int) -> CostView:
    """Show amounts of a billionth of a dollar."""
    return CostView(amount=written(amount), currency="USD", inDoubt=written(in_doubt))
