"""Refusals of the calls below `/v1`: the problems of the native API, in the shape of OpenAI's errors.

OpenAI's SDKs repeat a request by themselves after an answer 408, 409, 429 or 5xx, unless the answer's header
`x-should-retry` is `false`.
"""

import json
from dataclasses import replace
from typing import TypedDict, cast
from urllib.parse import urlsplit

from ...core.codes import ProblemCode
from ...store.admission import Limit
from ..base.messages import Reply, json_reply
from ..base.problems import (
    INVALID_FIELDS,
    NOT_JOINABLE,
    PROBLEM_TYPE,
    UNSUPPORTED_SCHEMA,
    ProblemKind,
    ProblemView,
)
from ..base.views import shown

# The status below `/v1` of a request with a wrong value, as at OpenAI. The native API answers 422.
BAD_VALUE_STATUS = 400
POLL_AFTER = "openai-poll-after-ms"
SHOULD_RETRY = "x-should-retry"

_BAD_VALUES = frozenset({INVALID_FIELDS.code, UNSUPPORTED_SCHEMA.code, NOT_JOINABLE.code})
# Statuses after which OpenAI's SDKs repeat a request, besides all from 500 on.
_REPEATED_STATUSES = frozenset({408, 409, 429})
_WAIT_SECONDS_MOST = 120  # The longest `Retry-After`, in seconds, that OpenAI's SDKs wait for.
# Problems after which a repeated request would fail too, until an operator acts or until the next day.
_HOPELESS = frozenset(
    {
        ProblemCode.NOT_CONFIGURED,
        ProblemCode.BAD_CONFIGURATION,
        ProblemCode.SCHEMA_MISSING,
        ProblemCode.DATABASE_QUOTA_EXHAUSTED,
        ProblemCode.NO_WEBHOOK_KEY,
        ProblemCode.FILES_FULL,
    }
)
_NOT_SERVED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@shown
class ErrorDetailView(TypedDict):
    """What went wrong. `code` is the native API's code of the problem, `param` the wrong field or parameter."""

    message: str
    type: str
    param: str | None
    code: ProblemCode


@shown
class ErrorView(TypedDict):
    """The refusal of a request below `/v1`."""

    error: ErrorDetailView


def no_path(path: str) -> str:
    """Return what to tell a client that asks for a path without a call, as programs for OpenAI's other APIs do."""
    if path in _NOT_SERVED:
        return f"{path} is not served here. Use POST /v1/responses with background: true; see docs/openai.md."
    return "There is no such path."


def is_compatible(url: str) -> bool:
    """Whether a URL or a path is below `/v1`."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return False
    return path == "/v1" or path.startswith("/v1/")


def status_of(code: ProblemCode, status: int) -> int:
    """Return the status that a problem has below `/v1`."""
    return BAD_VALUE_STATUS if code in _BAD_VALUES else status


def headers_of(kind: ProblemKind) -> tuple[str, ...]:
    """Return the headers that an answer with a problem of the given kind may have below `/v1`."""
    status = status_of(kind.code, kind.status)
    return (
        *kind.headers,
        *((POLL_AFTER,) if "Retry-After" in kind.headers else ()),
        *((SHOULD_RETRY,) if _is_repeated(status) else ()),
    )


def type_of(status: int) -> str:
    """Return OpenAI's error type for an answer's status."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def dressed(reply: Reply) -> Reply:
    """Give an answer of a call below `/v1` the shape of OpenAI's API.

    A problem becomes an error of OpenAI's shape, and the value of `Retry-After` is repeated in milliseconds.
    """
    again = reply.headers.get("Retry-After")
    headers = {**reply.headers, **({} if again is None else {POLL_AFTER: str(int(again) * 1000)})}
    if reply.headers.get("Content-Type") != PROBLEM_TYPE:
        return replace(reply, headers=headers)
    problem = cast("ProblemView", json.loads(reply.body))
    status = status_of(problem["code"], reply.status)
    if _is_repeated(status) and _is_hopeless(problem, again):
        headers[SHOULD_RETRY] = "false"
    del headers["Content-Type"]
    return json_reply(status, ErrorView(error=_detail(problem, status)), headers)


def _detail(problem: ProblemView, status: int) -> ErrorDetailView:
    errors = problem.get("errors")
    return ErrorDetailView(
        message=problem["detail"],
        type=type_of(status),
        param=errors[0]["field"] if errors else None,
        code=problem["code"],
    )


def _is_repeated(status: int) -> bool:
    return status in _REPEATED_STATUSES or status >= 500


def _is_hopeless(problem: ProblemView, again: str | None) -> bool:
    """Whether an SDK that repeats the request within its longest wait would get the same refusal."""
    return (
        problem["status"] == 409
        or problem["code"] in _HOPELESS
        or problem.get("limit") == Limit.CHARACTERS_PER_DAY
        or (again is not None and int(again) > _WAIT_SECONDS_MOST)
    )
