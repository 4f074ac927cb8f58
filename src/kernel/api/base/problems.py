"""Every kind of refusal of the API, and its answer: a problem, in the format "problem details" (RFC 9457).

Below `/v1` the same problems have the shape of OpenAI's errors. OpenAI's SDKs repeat a request by themselves after an
answer 408, 409, 429 or 5xx, unless the answer's header `x-should-retry` is `false`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Final, NamedTuple, NotRequired, TypedDict, cast
from urllib.parse import urlsplit

from pydantic import Field

from ...domain import limits
from ...domain.errors import (
    CapRefused,
    SchemaMissing,
    StoreError,
    StoreFull,
    StoreQuotaExhausted,
    StoreUnavailable,
    seconds_until_reset,
)
from ...domain.keys import Scope
from ...store.admission import Limit
from .messages import Reply, json_reply
from .views import shown

TYPE_PREFIX = "urn:onceover:problem:"
PROBLEM_TYPE = "application/problem+json"

_ERRORS_MOST = 20
_NAME_CHARS_MOST = 60
_ROOM_SECONDS = "300"
SOON: Final = {"Retry-After": "5"}
_AGAIN = ("Retry-After",)
SHOULD_RETRY = "x-should-retry"

SCHEMA_DETAIL = (
    "The database lacks tables of this version. Locally, `make dev` applies the migrations. For a deployed Worker, run "
    "`make deploy`, or `npx wrangler d1 migrations apply DB --remote`."
)
DATABASE_DETAIL = (
    "The database (D1, binding DB) does not answer. If this lasts, see what `make dev` prints (a full disk stops "
    "writes), and start it again. For a deployed Worker, `npx wrangler d1 migrations list DB --remote` shows whether "
    "the database answers."
)
OVERLOAD_DETAIL = (
    "The database is too slow, so the service refuses new tasks and files. Nothing was accepted. Earlier tasks go "
    "on, and can be read, cancelled and deleted."
)
STORAGE_DETAIL = (
    "The database is full, or nearly full (STORAGE_MB_MOST). Nothing was accepted. Earlier tasks can be "
    "read, cancelled and deleted, and go on once there is space. Delete ended tasks and files, shorten "
    "RETENTION_DAYS, or give the database more space. Without the binding BLOBS, files are refused earlier than tasks."
)
FILES_DETAIL = (
    "The bucket of files (R2, binding BLOBS; without it the database, binding DB) does not answer. Try again. The "
    "service's log has the cause."
)
MEMORY_DETAIL = (
    "The service is handling other large requests, and its memory is limited. Nothing was accepted. Try again."
)
NO_KEY_DETAIL = (
    "This deployment has no WEBHOOK_KEY, from which the signing secrets of webhooks are made. Make one with "
    "`openssl rand -base64 32`. Set it with `npx wrangler secret put WEBHOOK_KEY`, or under `make dev` as a "
    "line `WEBHOOK_KEY=…` in `.dev.vars`."
)
QUOTA_DETAIL = (
    "The day's allowance of database rows is used up (D1 on the free plan). It resets at midnight UTC. The "
    "paid plan has no such limit."
)
COST_LIMIT_DETAIL = (
    "The first call could cost more than is left of what the tenant's calls may cost this month (UTC). Nothing was "
    "accepted. Earlier tasks go on as far as the cap allows."
)
NO_PRICE_DETAIL = (
    "The tenant has a cap for its month, so a task needs a price of its model (PRICES), and a limit of output "
    "(maxOutputTokens)."
)


class ProblemKind(NamedTuple):
    """One kind of problem: its stable code, the status and the title of its answer, and the answer's headers."""

    code: str
    status: int
    title: str
    headers: tuple[str, ...] = ()


BAD_IDEMPOTENCY_KEY = ProblemKind("bad_idempotency_key", 400, "The Idempotency-Key is malformed")
MALFORMED_BODY = ProblemKind("malformed_body", 400, "The body is not a JSON object")
UNSUPPORTED_PARAMETER = ProblemKind("unsupported_parameter", 400, "A parameter is not supported")
UNAUTHENTICATED = ProblemKind("unauthenticated", 401, "The request has no valid key", ("WWW-Authenticate",))
FORBIDDEN = ProblemKind("forbidden", 403, "The key may not do this", ("WWW-Authenticate",))
FOREIGN_ORIGIN = ProblemKind("foreign_origin", 403, "Pages of this origin may not call this")
NOT_FOUND = ProblemKind("not_found", 404, "The path or id does not exist")
METHOD_NOT_ALLOWED = ProblemKind("method_not_allowed", 405, "The path does not take this method")
ALREADY_TERMINAL = ProblemKind("already_terminal", 409, "The task has ended")
BUDGET_SPENT = ProblemKind("budget_exhausted", 409, "The task has used up its budget of model calls")
COST_SPENT = ProblemKind("cost_exhausted", 409, "The task has used up its maxCost")
NOT_RETRYABLE = ProblemKind("not_retryable", 409, "The task has not failed, was not cancelled, and has no gaps")
KEY_LIMIT = ProblemKind("key_limit", 409, "The tenant has reached its limit of keys")
ENDPOINT_LIMIT = ProblemKind("endpoint_limit", 409, "The tenant has reached its limit of webhook endpoints")
ENDPOINT_GONE = ProblemKind("endpoint_gone", 409, "The webhook endpoint is deleted or disabled")
UNREACHED = ProblemKind("endpoint_unreached", 502, "The webhook endpoint gave no answer")
FILE_IN_USE = ProblemKind("file_in_use", 409, "A batch or a task still reads or writes the file")
FILES_FULL = ProblemKind("files_full", 507, "The tenant's files have reached their limit")
FILES_UNAVAILABLE = ProblemKind("files_unavailable", 503, "The bucket of files cannot be reached", _AGAIN)
NO_WEBHOOK_KEY = ProblemKind("no_webhook_key", 503, "The deployment has no key for webhooks", _AGAIN)
TOO_LARGE = ProblemKind("too_large", 413, "The request is too large")
UNSUPPORTED_MEDIA_TYPE = ProblemKind("unsupported_media_type", 415, "The body's media type is not supported")
IDEMPOTENCY_MISMATCH = ProblemKind("idempotency_mismatch", 422, "The Idempotency-Key belongs to another request")
INVALID_FIELDS = ProblemKind("invalid_fields", 422, "Some fields have invalid values")
NO_PRICE = ProblemKind("no_price", 422, "A task with a cap needs a price and a limit of output")
COST_LIMIT = ProblemKind("cost_limit", 429, "The tenant has used up its month", (SHOULD_RETRY,))
UNSUPPORTED_SCHEMA = ProblemKind("unsupported_schema", 422, "The output schema is not supported")
NOT_JOINABLE = ProblemKind("not_joinable", 422, "Outputs of this schema cannot be joined without a call")
LIMIT_REACHED = ProblemKind("limit_reached", 429, "The tenant has reached one of its limits", _AGAIN)
TOO_SOON = ProblemKind("too_soon", 429, "This was done a moment ago", _AGAIN)
INTERNAL = ProblemKind("internal", 500, "The service failed")
BAD_CONFIGURATION = ProblemKind("bad_configuration", 500, "The deployment is configured wrongly")
NOT_CONFIGURED = ProblemKind("not_configured", 503, "The deployment has no keys yet")
OVERLOADED = ProblemKind("overloaded", 503, "The service is overloaded", _AGAIN)
DATABASE_UNAVAILABLE = ProblemKind("database_unavailable", 503, "The database cannot be reached", _AGAIN)
DATABASE_QUOTA_EXHAUSTED = ProblemKind(
    "database_quota_exhausted", 503, "The database's allowance for today is used up", _AGAIN
)
DATABASE_ERROR = ProblemKind("database_error", 503, "The database refused the operation", _AGAIN)
STORAGE_FULL = ProblemKind("storage_full", 507, "The database is full", _AGAIN)
SCHEMA_MISSING = ProblemKind("schema_missing", 503, "The database lacks tables of this version", _AGAIN)

KINDS: Final = tuple(value for value in list(globals().values()) if isinstance(value, ProblemKind))

type ProblemCode = Annotated[
    str,
    Field(
        title="ProblemCode",
        description="Why a request was refused, as the `code` of a problem shows it.",
        json_schema_extra={"enum": [kind.code for kind in KINDS]},
    ),
]

KEY_KINDS = (UNAUTHENTICATED, NOT_CONFIGURED, OVERLOADED)
DATABASE_KINDS = (DATABASE_UNAVAILABLE, DATABASE_QUOTA_EXHAUSTED, DATABASE_ERROR, SCHEMA_MISSING, STORAGE_FULL)
BODY_KINDS = (MALFORMED_BODY, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)
IDEMPOTENCY_KINDS = (BAD_IDEMPOTENCY_KEY, IDEMPOTENCY_MISMATCH)


class FieldError(NamedTuple):
    """What is wrong with a field, named by its path; `pointer` is into its schema or join rules."""

    field: str
    message: str
    pointer: str | None = None

    def view(self) -> "FieldErrorView":
        """Return what is wrong with the field, as a problem shows it."""
        view = FieldErrorView(field=self.field, message=self.message)
        return view if self.pointer is None else FieldErrorView(**view, pointer=self.pointer)


@shown
class FieldErrorView(TypedDict):
    """What is wrong with one field of a request. `field` is the path of the field.

    `pointer` is a JSON pointer to the place in an output schema, or in the output; for the root it is an empty text.
    """

    field: Annotated[str, Field(examples=["chunk.maxChars"])]
    message: str
    pointer: NotRequired[str]


@shown
class ProblemView(TypedDict):
    """Problem details (RFC 9457). `code` is stable. `requestId` is the answer's `X-Request-Id`.

    `errors` is set if fields are wrong, `limit` if the tenant has reached the limit that it names.
    """

    type: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    title: str
    status: int
    detail: str
    code: ProblemCode
    limit: NotRequired[str]
    errors: NotRequired[list[FieldErrorView]]
    requestId: NotRequired[str]


class Refusal(Exception):
    """Raised to refuse with a problem. `detail` is for people, without a task's text; `limit`: which was reached."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(kind.code)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}
        self.limit = limit

    def reply(self) -> Reply:
        """Make the answer."""
        kind = self.kind
        problem = ProblemView(
            type=TYPE_PREFIX + kind.code, title=kind.title, status=kind.status, detail=self.detail, code=kind.code
        )
        if self.limit is not None:
            problem["limit"] = self.limit
        if self.errors:
            problem["errors"] = [error.view() for error in self.errors]
        return json_reply(kind.status, problem, self.headers, PROBLEM_TYPE)


def named(name: str) -> str:
    """Return a field's name from a request, made safe to show: shortened, with unprintable characters escaped."""
    bounded = name if len(name) <= _NAME_CHARS_MOST else name[:_NAME_CHARS_MOST] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in bounded)


def field_refusal(errors: Iterable[FieldError], kind: ProblemKind = INVALID_FIELDS) -> Refusal:
    """Make the refusal of a request with wrong fields. The refusal's detail names the first 20 of the wrong fields."""
    first = tuple(errors)[:_ERRORS_MOST]
    assert first
    return Refusal(kind, "; ".join(f"{error.field}: {error.message}" for error in first), first)


def forbidden(scope: Scope, detail: str | None = None) -> Refusal:
    """Make the refusal (403) of a valid key that lacks a scope."""
    detail = detail or f"This call needs a key with the scope `{scope}`."
    challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}
    return Refusal(FORBIDDEN, detail, headers=challenge)


def no_task() -> Refusal:
    """Make the refusal (404) of a task id that is unknown, erased or malformed."""
    return Refusal(NOT_FOUND, "There is no task with this id.")


def no_webhook_key() -> Refusal:
    """Make the refusal of a request that needs a signature in a deployment without WEBHOOK_KEY."""
    return Refusal(NO_WEBHOOK_KEY, NO_KEY_DETAIL, headers={"Retry-After": "60"})


def store_refusal(error: StoreError, now_ms: int) -> Refusal:
    """Make the refusal of a request for a failure of the database."""
    headers: Mapping[str, str] = SOON
    match error:
        case CapRefused(lacks_price=True):
            kind, detail, headers = NO_PRICE, NO_PRICE_DETAIL, {}
        case CapRefused():
            kind, detail, headers = COST_LIMIT, COST_LIMIT_DETAIL, {SHOULD_RETRY: "false"}
        case SchemaMissing():
            kind, detail = SCHEMA_MISSING, SCHEMA_DETAIL
        case StoreQuotaExhausted():
            headers = {"Retry-After": str(seconds_until_reset(now_ms))}
            kind, detail = DATABASE_QUOTA_EXHAUSTED, QUOTA_DETAIL
        case StoreFull():
            kind, detail, headers = STORAGE_FULL, STORAGE_DETAIL, {"Retry-After": _ROOM_SECONDS}
        case StoreUnavailable():
            kind, detail = DATABASE_UNAVAILABLE, DATABASE_DETAIL
        case _:
            detail = "The database refused the operation. Try again. The service's log has the cause."
            kind = DATABASE_ERROR
    return Refusal(kind, detail, headers=headers)


def overload_refusal() -> Refusal:
    """Make the refusal of a new task or file while the database is overloaded."""
    return Refusal(OVERLOADED, OVERLOAD_DETAIL, headers={"Retry-After": str(round(limits.OVERLOAD_PROBE_SECONDS))})


POLL_AFTER = "openai-poll-after-ms"

# Problems with the status 400 below `/v1`, as at OpenAI. The native API answers 422.
_BAD_VALUES = frozenset({INVALID_FIELDS.code, UNSUPPORTED_SCHEMA.code, NOT_JOINABLE.code})
# Statuses after which OpenAI's SDKs repeat a request, besides all from 500 on.
_REPEATED_STATUSES = frozenset({408, 409, 429})
_WAIT_SECONDS_MOST = 120  # The longest `Retry-After`, in seconds, that OpenAI's SDKs wait for.
# Problems after which a repeated request would fail too, until an operator acts or until the next day.
_HOPELESS = frozenset(
    one.code
    for one in (NOT_CONFIGURED, BAD_CONFIGURATION, SCHEMA_MISSING, DATABASE_QUOTA_EXHAUSTED, NO_WEBHOOK_KEY, FILES_FULL)
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


def status_of(code: str, status: int) -> int:
    """Return the status that a problem has below `/v1`."""
    return 400 if code in _BAD_VALUES else status


def headers_of(kind: ProblemKind) -> tuple[str, ...]:
    """Return the headers that an answer with a problem of the given kind may have below `/v1`."""
    status = status_of(kind.code, kind.status)
    return (
        *kind.headers,
        *((POLL_AFTER,) if "Retry-After" in kind.headers else ()),
        *((SHOULD_RETRY,) if _is_repeated(status) else ()),
    )


def dressed(reply: Reply) -> Reply:
    """Give an answer below `/v1` OpenAI's shape: of a problem, and `Retry-After` in milliseconds."""
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
        type=_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
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
