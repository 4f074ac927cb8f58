"""Query parameters of the API, and how each is read. A query parameter with an empty value counts as absent.

Only an empty `tenant` is refused: a script's empty variable would otherwise let a request act on the key's own tenant.
"""

import base64
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from urllib.parse import parse_qsl
from uuid import UUID

from ...core import limits
from ...store.records.pages import Span, span
from .acting import TENANT
from .messages import Query
from .problems import INVALID_FIELDS, FieldError, ProblemKind, Refusal, field_refusal, named

INCLUDABLE = frozenset({"chunks", "input"})

# Matches a number as JSON writes it (3.9027895717357715, 5e-324), and as people also write it (".5", "7.").
_DECIMAL = re.compile(r"(?:[0-9]{1,20}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,30})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[0-9]{1,6}")

# The pattern of a cursor: the 16 bytes of a UUID of version 7 in URL-safe base64 without padding. A UUID of version 7
# has 48 bits of time, the version (0111) and 12 random bits, the variant (10) and 62 random bits; base64 adds four
# unused bits.
CURSOR_PATTERN = "[A-Za-z0-9_-]{8}[c-f][A-Za-z0-9_-][CGKOSWaeimquy26-][A-Za-z0-9_-]{10}[AQgw]"
_CURSOR = re.compile(CURSOR_PATTERN)

# The JSON Schema of the query parameter `limit` of a list.
LIMIT = {"type": "integer", "minimum": 1, "maximum": limits.LIST_LIMIT_MOST, "default": limits.LIST_LIMIT_DEFAULT}


def parse(text: str, known: Collection[str], unknown: ProblemKind = INVALID_FIELDS) -> Query:
    """Parse a query string. Raises Refusal of kind `unknown` that names each unknown or repeated parameter."""
    found: dict[str, str] = {}
    errors = []
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in known:
            errors.append(FieldError(named(name), "is not a known query parameter"))
        elif name in found:
            errors.append(FieldError(name, "is given more than once"))
        elif value or name == TENANT:
            found[name] = value
    if errors:
        raise field_refusal(errors, unknown)
    return found


def wait_seconds(query: Query) -> float:
    """Read the parameter `wait` in seconds, 0 if it is absent."""
    text = query.get("wait", "0")
    if not _DECIMAL.fullmatch(text) or float(text) > limits.WAIT_SECONDS_MOST:
        raise refused("wait", f"must be a number of seconds from 0 to {limits.WAIT_SECONDS_MOST}")
    return float(text)


def included(query: Query) -> frozenset[str]:
    """Read the parameter `include`, which names further parts of a task to show, separated by commas."""
    names = frozenset(query["include"].split(",")) if "include" in query else frozenset[str]()
    if names - INCLUDABLE:
        raise refused("include", "must be chunks, input, or both with a comma between them")
    return names


def is_verbose(query: Query) -> bool:
    """Read `verbose`."""
    text = query.get("verbose", "0")
    if text not in {"0", "1"}:
        raise refused("verbose", "must be 0 or 1")
    return text == "1"


def is_true(query: Query, name: str) -> bool:
    """Read a parameter that is `true` or `false`, such as `dryRun` or `counts`. An absent parameter counts as false."""
    text = query.get(name, "false")
    if text not in {"true", "false"}:
        raise refused(name, "must be true or false")
    return text == "true"


def hours(query: Query) -> int:
    """Read `hours`."""
    most = round(limits.HISTORY_SECONDS / 3600)
    text = query.get("hours", str(limits.HISTORY_HOURS_DEFAULT))
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise refused("hours", f"must be a whole number from 1 to {most}")
    return int(text)


def created_bound(query: Query, name: str) -> float | None:
    """Read `createdAfter` or `createdBefore` as milliseconds since the epoch, or as 0 for a time before the epoch."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # RFC 3339 allows the year 0, and Python does not. The year 4 stands in for the year 0, because both are long
        # before any task.
        known = re.sub("^0000", "0004", text.upper())
        moment = datetime.fromisoformat(known) if _TIME.fullmatch(text) else None
        milliseconds = None if moment is None else (moment - _EPOCH) / timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        milliseconds = None
    if milliseconds is None:
        raise refused(name, "must be an RFC 3339 time, like 2026-11-05T12:00:00Z")
    return max(0.0, milliseconds)


def created_span(tenant: str, query: Query, before_id: str | None = None, prefix: str = "") -> Span:
    """Read `createdAfter` and `createdBefore` as a span of tasks before `before_id` whose ids begin with `prefix`."""
    after, before = created_bound(query, "createdAfter"), created_bound(query, "createdBefore")
    return span(
        tenant,
        before_id=before_id,
        prefix=prefix,
        from_ms=None if after is None else floor(after) + 1,
        until_ms=None if before is None else ceil(before),
    )


def page_limit(query: Query) -> int:
    """Read `limit`."""
    text = query.get("limit", str(limits.LIST_LIMIT_DEFAULT))
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= limits.LIST_LIMIT_MOST:
        raise refused("limit", f"must be a whole number from 1 to {limits.LIST_LIMIT_MOST}")
    return int(text)


def chunks_limit(query: Query) -> int | None:
    """Read `limit` of a page of chunks, None if the request wants all chunks."""
    text = query.get("limit")
    if text is None:
        return None
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= limits.CHUNKS_MOST:
        raise refused("limit", f"must be a whole number from 1 to {limits.CHUNKS_MOST}")
    return int(text)


def chunks_start(query: Query) -> int:
    """Read `cursor` of a page of chunks: the index of the page's first chunk."""
    text = query.get("cursor", "0")
    if not _WHOLE.fullmatch(text) or int(text) > limits.CHUNKS_MOST:
        raise refused("cursor", "must be the nextCursor of an earlier page")
    return int(text)


def page_start(query: Query) -> str | None:
    """Read the parameter `cursor` of a list: the id of the task after which the page starts."""
    text = query.get("cursor")
    if text is None:
        return None
    if not _CURSOR.fullmatch(text):
        raise refused("cursor", "must be the nextCursor of an earlier page")
    return read_cursor(text)


def read_cursor(text: str) -> str:
    """Decode a cursor that `cursor` has made: the id of the task after which the page starts."""
    return str(UUID(bytes=base64.urlsafe_b64decode(text + "==")))


def cursor(task_id: str) -> str:
    """Make the cursor of the page of a list that starts after the task with the given id."""
    return base64.urlsafe_b64encode(UUID(task_id).bytes).decode("ascii").rstrip("=")


def refused(name: str, message: str) -> Refusal:
    """Make the refusal of a query parameter's value."""
    return field_refusal([FieldError(name, message)])
