"""Checks the lines of a batch, and makes of each valid body that of a chat completion without its model."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal, NamedTuple, get_args

from ....kernel.domain import limits
from ....kernel.domain.settings import Settings
from . import fields, responses_input
from .fields import ParameterRefused, token_limit, without_token_limits
from .line_json import LineNotJson, parse_line

BatchEndpoint = Literal["/v1/chat/completions", "/v1/responses"]
ENDPOINTS: Final[tuple[BatchEndpoint, ...]] = get_args(BatchEndpoint)
CHAT, RESPONSES = ENDPOINTS

_MEMBERS = ("custom_id", "method", "url", "body")
_VALUE_BYTES = 100  # What a value in an object or a list takes at most in memory, besides the characters of its JSON.


class LineCode(StrEnum):
    """Why a batch is not valid, as the `code` of one of its errors."""

    INVALID_JSON_LINE = "invalid_json_line"
    DUPLICATE_CUSTOM_ID = "duplicate_custom_id"
    URL_MISMATCH = "url_mismatch"
    MISMATCHED_MODEL = "mismatched_model"
    EMPTY_FILE = "empty_file"
    TOO_MANY_TASKS = "too_many_tasks"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    LINE_TOO_LARGE = "line_too_large"
    NO_PRICE = "no_price"


class LineRules(NamedTuple):
    """What the lines of a batch must have. `model` is the model of its first line, None until that has been read.

    `fields` are the fields of a body that reach the provider (AI_BATCH_FIELDS). `models` are the models that a line may
    name, `default_model` among them. It is empty if a line may name any model. `lacks_price` says whether the call of a
    line lacks a price or a most; None in a batch without a cap.
    """

    endpoint: BatchEndpoint
    fields: frozenset[str]
    models: tuple[str, ...] = ()
    model: str | None = None
    lacks_price: Callable[[str, Mapping[str, object]], bool] | None = None


class Line(NamedTuple):
    """A valid line: the fields of its body that reach the provider, without the model, and `unsent` ones."""

    custom_id: str
    model: str
    body: Mapping[str, object]
    unsent: Mapping[str, object]


class LineFault(NamedTuple):
    """A fault. `line` counts from 1 with blank ones, None: the whole file. `param`: such as `body.stream`."""

    code: LineCode
    line: int | None
    message: str
    param: str | None = None


class _Faulty(Exception):
    def __init__(self, code: LineCode, message: str, param: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def rules_of(settings: Settings, endpoint: BatchEndpoint, default_model: str, model: str | None = None) -> LineRules:
    """Make the rules of a batch from the deployment's settings."""
    models = (default_model, *settings.models) if settings.models else ()
    return LineRules(endpoint, frozenset(settings.batch_fields), models, model)


def check_line(raw: bytes, number: int, rules: LineRules) -> Line | LineFault:
    """Check a line that is not blank. `number` is its number in the file."""
    if len(raw) > limits.BATCH_LINE_BYTES_MOST:
        message = f"The line has more than {limits.BATCH_LINE_BYTES_MOST:,} bytes."
        return LineFault(LineCode.LINE_TOO_LARGE, number, message)
    try:
        return _line(parse_line(raw), rules)
    except LineNotJson as error:
        return LineFault(LineCode.INVALID_JSON_LINE, number, f"The line is {error}.")
    except ParameterRefused as error:
        param = f"body.{error.field}"
        code = LineCode.UNSUPPORTED_PARAMETER if error.unsupported else LineCode.INVALID_JSON_LINE
        return LineFault(code, number, f"'{param}' {error}.", param)
    except _Faulty as fault:
        return LineFault(fault.code, number, str(fault), fault.param)


def line_again(raw: bytes, rules: LineRules) -> Line:
    """Read a line that was found valid before. A field accepted then reaches the provider, whatever `rules` say now."""
    found = parse_line(raw)
    assert isinstance(found, dict)
    body = found["body"]
    names = rules.fields | fields.not_harmless(body, is_chat=rules.endpoint == CHAT)
    if rules.endpoint != CHAT:
        names |= responses_input.NAMES_OF_PARTS
    return _line(found, rules._replace(fields=names, models=(), model=None))


def memory_bytes(line: Line, raw_bytes: int) -> int:
    """Estimate a line's memory from its `raw_bytes` of JSON. Many small values take thirty times as much."""
    values = 0
    left: list[Mapping[str, object] | list[object]] = [line.body, line.unsent]
    while left:
        members = left.pop()
        values += len(members)
        found = members.values() if isinstance(members, Mapping) else members
        left += [member for member in found if isinstance(member, Mapping | list)]
    return raw_bytes + _VALUE_BYTES * values


def _line(found: object, rules: LineRules) -> Line:
    if not isinstance(found, dict):
        raise _Faulty(LineCode.INVALID_JSON_LINE, "The line is JSON, but not an object.", None)
    custom_id, body = _checked_members(found, rules)
    model = body.get("model")
    _check_model(model, rules)
    assert isinstance(model, str)
    sent, unsent = fields.sorted_fields(body, rules.fields, is_chat=rules.endpoint == CHAT)
    if rules.endpoint == CHAT:
        _check_messages(sent.get("messages"))
    else:
        responses_input.check(sent, rules.fields)
    if rules.lacks_price is not None and rules.lacks_price(model, call_body(rules.endpoint, sent)):
        message = "The batch has a cap, and the line has no price, no limit of output, or content by its URL or id."
        raise _Faulty(LineCode.NO_PRICE, message, "body")
    return Line(custom_id, model, sent, unsent)


def _checked_members(found: dict[str, object], rules: LineRules) -> tuple[str, dict[str, object]]:
    """Check the members of a line beside its body. Returns its `custom_id` and its body."""
    for name in found:
        if name not in _MEMBERS:
            message = f"The line has the member {fields.shown(name)}. It may have {', '.join(_MEMBERS)}."
            raise _Faulty(LineCode.UNSUPPORTED_PARAMETER, message, fields.shown(name))
    custom_id, body = found.get("custom_id"), found.get("body")
    if not isinstance(custom_id, str) or not _is_custom_id(custom_id):
        message = f"'custom_id' must be a string of 1 to {limits.CUSTOM_ID_CHARS_MOST} visible ASCII characters."
        raise _Faulty(LineCode.INVALID_JSON_LINE, message, "custom_id")
    if found.get("method") != "POST":
        raise _Faulty(LineCode.INVALID_JSON_LINE, "'method' must be \"POST\".", "method")
    if found.get("url") != rules.endpoint:
        message = f"'url' must be \"{rules.endpoint}\", the endpoint of the batch."
        raise _Faulty(LineCode.URL_MISMATCH, message, "url")
    if not isinstance(body, dict):
        raise _Faulty(LineCode.INVALID_JSON_LINE, "'body' must be an object.", "body")
    return custom_id, body


def _is_custom_id(text: str) -> bool:
    return 0 < len(text) <= limits.CUSTOM_ID_CHARS_MOST and text.isascii() and text.isprintable() and " " not in text


def _check_model(model: object, rules: LineRules) -> None:
    param = "body.model"
    if not isinstance(model, str) or not 0 < len(model) <= limits.MODEL_CHARS_MOST or not model.isprintable():
        message = f"'{param}' must be a string of 1 to {limits.MODEL_CHARS_MOST} printable characters."
        raise _Faulty(LineCode.INVALID_JSON_LINE, message, param)
    if rules.models and model not in rules.models:
        message = f"'{param}' must be one of {', '.join(rules.models)} (AI_MODEL, AI_MODELS)."
        raise _Faulty(LineCode.MODEL_NOT_ALLOWED, message, param)
    if rules.model is not None and model != rules.model:
        message = f"'{param}' must be {rules.model}, as in the first line: all lines of a batch name one model."
        raise _Faulty(LineCode.MISMATCHED_MODEL, message, param)


def _check_messages(messages: object) -> None:
    """Check that a chat body has messages. Their content is the provider's to judge."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise ParameterRefused("messages", "must be a list of one or more messages", unsupported=False)
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ParameterRefused(f"messages[{number}]", "must be an object", unsupported=False)


def call_body(endpoint: BatchEndpoint, body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the body of the call for a valid `Line.body`; its limit of tokens is `max_completion_tokens`."""
    if endpoint != CHAT:
        return responses_input.chat_body(body)
    tokens = token_limit(body)
    made = dict(without_token_limits(body))
    return made if tokens is None else {**made, "max_completion_tokens": tokens}
