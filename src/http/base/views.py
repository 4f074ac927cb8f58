"""The building blocks of the API's answers.

Answers are typed dictionaries with the API's own names. Our code makes them, so the type checker checks them, and the
isolate's start builds no validator for each. `/openapi.json` describes them.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, TypedDict

from pydantic import ConfigDict, Field, with_config

from ...core import task as core
from ...core.codes import TaskCode

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-05T12:00:00.000Z"])]

shown = with_config(ConfigDict(extra="forbid"))


@shown
class FailureView(TypedDict):
    """Why a task or a chunk failed. `retryable` says whether trying again can help."""

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
    """Show a time in UTC, with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_rfc3339(milliseconds: int | None) -> str | None:
    """Show a time that may be missing."""
    return None if milliseconds is None else rfc3339(milliseconds)


def failure_view(failure: core.Failure | None) -> FailureView | None:
    """Show a failure."""
    if failure is None:
        return None
    return FailureView(code=failure.code, message=failure.message, retryable=failure.retryable)
