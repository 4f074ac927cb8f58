"""What a request gives: its body, read and checked against a model, and its query parameters.

The models of bodies are classes of pydantic, and `/openapi.json` is made from them. Bodies are read up to a size
limit, and parsed as strictly as RFC 8259 (JSON) and RFC 7493 (I-JSON) allow.

A query parameter with an empty value counts as absent. Only an empty `tenant` is refused: a script's empty variable
would otherwise let a request act on the key's own tenant.
"""

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil, floor, isfinite
from typing import Annotated
from urllib.parse import parse_qsl
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from ...domain import limits
from ...domain.prices import amount_of
from ...store.rows import Span, span
from .exchange import TENANT
from .messages import BodyBroken, BodyTooLarge, Query, Request, content_length
from .problems import (
    INVALID_FIELDS,
    MALFORMED_BODY,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    ProblemKind,
    Refusal,
    field_refusal,
    named,
)

# An amount of dollars as decimal text, as `domain.prices.amount_of` reads it.
MaxCost = Annotated[str, Field(pattern=r"^[0-9]{1,6}(?:\.[0-9]{1,9})?$")]


def amount(text: str | None) -> int | None:
    """Return an amount in billionths of a dollar."""
    return None if text is None else amount_of(text)


DEPTH_MOST = 104  # An output schema is at most 100 levels deep, and a body has it inside of up to four objects.
# The most tokens in a body: strings, brackets, commas and colons. A usual one has a few dozen, and 4 KB of metadata.
TOKENS_MOST = 20_000

# A body without a Content-Type, or with the form type that `curl -d` sends, is parsed as JSON too.
_MEDIA_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded"})

_QUOTES_SPLIT_MOST = 10_000  # At most so many quotation marks are looked at one by one.

# Matches a JSON string, closed or cut off by the end of the body, or one structural character. The quantifiers are
# possessive and the pattern matches any beginning of a string, so no body makes it backtrack.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)


class _Unacceptable(ValueError):
    """Raised for JSON that the parser accepts and the API refuses. The message says why."""


async def read_object(request: Request, most_bytes: int, *, optional: bool = False) -> dict[str, object]:
    """Read a request's body as a JSON object. If the body is `optional`, an empty body gives an empty object.

    Raises Refusal: 415 for another media type or an encoding, 413 above `most_bytes` (by its Content-Length before the
    body is read, by the received bytes while it is read), 400 for anything but one whole JSON object.
    """
    _check_media_type(request.headers.get("content-type"))
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed, without a Content-Encoding.")
    if (content_length(request.headers) or 0) > most_bytes:
        raise _too_large(most_bytes)
    try:
        raw = await request.read(most_bytes)
    except BodyTooLarge:
        raise _too_large(most_bytes) from None
    except BodyBroken:
        raise _malformed("The body is incomplete: it ends too early, or its chunks are framed wrongly.") from None
    return {} if optional and not raw else parse_object(raw)


def parse_object(raw: bytes) -> dict[str, object]:
    """Parse the JSON object in a request's body. Raises Refusal (400) if there is none."""
    try:
        text = raw.decode("utf-8")
        _check_shape(text)
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        if not raw.strip():
            raise _malformed("The body is empty.") from None
        reason = error.msg.removesuffix(" at")  # some of the JSON parser's messages end with " at"
        raise _malformed(f"The body is not JSON: {reason} at line {error.lineno}, column {error.colno}.") from None
    except _Unacceptable as error:
        raise _malformed(f"The body {error}.") from None
    except (ValueError, RecursionError):
        # Python raises ValueError for an integer of more than 4,300 digits.
        raise _malformed("The body has a number that is too long.") from None
    if not isinstance(value, dict):
        raise _malformed("The body is JSON, but not an object.")
    return value


def _malformed(detail: str) -> Refusal:
    return Refusal(MALFORMED_BODY, detail)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(TOO_LARGE, f"The body has more than {most_bytes} bytes. No valid request needs more.")


def _check_media_type(value: str | None) -> None:
    media_type = (value or "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES and not media_type.endswith("+json"):
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json.")


def _check_shape(text: str) -> None:
    """Refuse deeply nested JSON and masses of small values, before parsing them takes stack and memory."""
    strings, rest = _without_strings(text) if text.count('"') <= _QUOTES_SPLIT_MOST else (0, text)
    depth = 0
    for count, match in enumerate(_TOKENS.finditer(rest), start=1 + strings):
        start = match[0][0]
        if start in "[{":
            depth += 1
        elif start in "]}":
            depth -= 1
        if depth > DEPTH_MOST:
            raise _Unacceptable(f"is nested more than {DEPTH_MOST} deep")
        if count > TOKENS_MOST:
            raise _Unacceptable(f"has more than {TOKENS_MOST} strings and punctuation marks of JSON")


def _without_strings(text: str) -> tuple[int, str]:
    """Return how many JSON strings a text has, and the rest, a hundred times faster than `_TOKENS`."""
    strings, within, rest = 0, False, []
    *quoted, last = text.split('"')
    for part in quoted:
        if not within:
            rest.append(part)
            strings += 1
            within = True
        elif not part.endswith("\\") or (len(part) - len(part.rstrip("\\"))) % 2 == 0:
            within = False
    return strings, "".join(rest if within else [*rest, last])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Unacceptable("has an object with the same name twice")
    return found


def _no_constant(name: str) -> object:
    raise _Unacceptable(f"is not JSON: {name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise _Unacceptable("has a number that is too large")
    return value


# The JSON Schema rules for text that goes to the database and to a model. `checked` refuses NUL in a text; the JSON
# Schema only states that NUL is not allowed.
NO_NUL = {"pattern": "^[^\\u0000]*$"}
NO_CONTROLS = {"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"}

# The fields of both APIs that hold an output schema. The schema's own check finds the place of each flaw.
_SCHEMA_FIELDS = ("outputSchema", "text.format.schema")

_CLEARER = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def _whole(value: object) -> object:
    """Read 6000.0 as 6000, as JSON Schema does, because some JSON libraries write a whole number with `.0`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)


class Plain(BaseModel):
    """The base of all request models. By itself it is for fields that have OpenAI's names, with underscores."""

    # `strict` refuses the text "6000" as a number, and true as 1; the last one keeps input out of errors and logs.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Asked(Plain):
    """The base of the models of the native API's request bodies."""

    model_config = ConfigDict(alias_generator=to_camel)


def extra_names(model: type[BaseModel]) -> Sequence[str]:
    """Return the names of a body's extra fields: those of its bases that say `are_extra`.

    Extra fields are texts without an effect. The task keeps and shows them, and lists can be filtered by each. Their
    names are single words, which neither a body nor a task has otherwise.
    """
    extras = [base for base in model.__mro__ if issubclass(base, BaseModel) and "are_extra" in vars(base)]
    return [name for base in extras for name in base.model_fields]


def extras_of(fields: BaseModel) -> Mapping[str, str]:
    """Return the values of a body's extra fields, without those that the body lacks."""
    found = ((name, getattr(fields, name)) for name in extra_names(type(fields)))
    return {name: value for name, value in found if value is not None}


def checked[Model: BaseModel](model: type[Model], body: Mapping[str, object]) -> Model:
    """Check a body against its model. Raises Refusal (422), which names each wrong field."""
    if flaws := list(text_flaws(body)):
        raise field_refusal(flaws)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise field_refusal(field_errors(error)) from None


def field_errors(error: ValidationError) -> Iterator[FieldError]:
    """Name each field that a model refuses."""
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        path = ".".join(named(str(part)) for part in item["loc"])
        yield FieldError(path, _CLEARER.get(item["type"], item["msg"]))


def text_flaws(value: object, path: str = "") -> Iterator[FieldError]:
    """Find strings anywhere in the body that UTF-8 or the database cannot store, including field names.

    `parse_object` has bounded the depth of the body. `check_document` checks an output schema.
    """
    if isinstance(value, str):
        if (flaw := _flaw(value)) is not None:
            yield FieldError(path, flaw)
    elif isinstance(value, Mapping) and path not in _SCHEMA_FIELDS:
        for name, item in value.items():
            inner = path if path == "metadata" else f"{path}.{named(name)}" if path else named(name)
            if (flaw := _flaw(name)) is not None:
                yield FieldError(inner, f"has a name that {flaw}" if inner == path else f"is a name that {flaw}")
            else:
                yield from text_flaws(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from text_flaws(item, path)


def compact_json(value: Mapping[str, object]) -> str:
    """Write an object as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def size_flaw(name: str, value: Mapping[str, object] | None, most: int) -> Iterator[FieldError]:
    """Yield a flaw of the field `name` if its value has more than `most` bytes as compact JSON."""
    size = 0 if value is None else len(compact_json(value).encode())
    if size > most:
        yield FieldError(name, f"has {size} bytes as compact JSON, more than the {most} allowed")


def _flaw(text: str) -> str | None:
    if "\0" in text:
        return "contains a NUL character (U+0000), which the database cannot store"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half of a surrogate pair, which is not a character"
    return None


# Matches a number as JSON writes it (3.9027895717357715, 5e-324), and as people also write it (".5", "7.").
_DECIMAL = re.compile(r"(?:[0-9]{1,20}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,30})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[0-9]{1,6}")

# A UUID of version 7 in URL-safe base64 without padding: 48 bits of time, the version (0111) and 12 random bits, the
# variant (10) and 62 random bits, and four unused bits.
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
    if names - {"chunks", "input"}:
        raise refused("include", "must be chunks, input, or both with a comma between them")
    return names


def one_of[Kind: StrEnum](query: Query, name: str, kind: type[Kind]) -> Kind | None:
    """Read a parameter that has one of the values of an enumeration, None if it is absent."""
    text = query.get(name)
    if text is not None and text not in kind:
        raise refused(name, f"must be one of {', '.join(kind)}")
    return None if text is None else kind(text)


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
    return whole(query, "hours", round(limits.HISTORY_SECONDS / 3600), limits.HISTORY_HOURS_DEFAULT)


def created_bound(query: Query, name: str) -> float | None:
    """Read `createdAfter` or `createdBefore` as milliseconds since the epoch, or as 0 for a time before the epoch."""
    text = query.get(name)
    if text is None:
        return None
    try:
        # RFC 3339 allows the year 0, and Python does not. The year 4 stands in: both are before any task.
        moment = datetime.fromisoformat(re.sub("^0000", "0004", text.upper())) if _TIME.fullmatch(text) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise refused(name, "must be an RFC 3339 time, like 2026-11-05T12:00:00Z")
    return max(0.0, (moment - _EPOCH) / timedelta(milliseconds=1))


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


def whole(query: Query, name: str, most: int, default: int) -> int:
    """Read a parameter that is a whole number from 1 to `most`."""
    text = query.get(name, str(default))
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise refused(name, f"must be a whole number from 1 to {most}")
    return int(text)


def page_limit(query: Query) -> int:
    """Read `limit` of a list."""
    return whole(query, "limit", limits.LIST_LIMIT_MOST, limits.LIST_LIMIT_DEFAULT)


def chunks_limit(query: Query) -> int | None:
    """Read `limit` of a page of chunks, None if the request wants all chunks."""
    return whole(query, "limit", limits.CHUNKS_MOST, 1) if "limit" in query else None


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


def refused(name: str, message: str, kind: ProblemKind = INVALID_FIELDS) -> Refusal:
    """Make the refusal of one wrong field or query parameter."""
    return field_refusal([FieldError(name, message)], kind)
