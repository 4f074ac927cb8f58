"""Turns the body of a line for `/v1/responses` into the body of a chat completion, which every provider takes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ....kernel.domain.task import CONCAT_SEPARATOR
from .fields import ParameterRefused, shown, token_limit, without_token_limits

# The roles of messages, and the roles that chat messages have for them: few servers know the role `developer`.
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_PARTS = ("input_text", "output_text")
# The names in AI_BATCH_FIELDS of those parts of `reasoning` and `text` that reach the provider.
NAMES_OF_PARTS: Final = frozenset({"reasoning_effort", "verbosity"})
_FORMATS = 'is supported here only as {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", …}'
_SCHEMA_MEMBERS = ("name", "schema", "strict", "description")


def check(body: Mapping[str, object], sent: Collection[str]) -> None:
    """Check the fields of a body that reach the provider. `sent` are AI_BATCH_FIELDS. Raises ParameterRefused."""
    made = chat_body(body)
    for name, field, part in (
        ("reasoning_effort", "reasoning_effort", "reasoning.effort"),
        ("response_format", "text", "text.format"),
        ("verbosity", "verbosity", "text.verbosity"),
    ):
        if name in made and name not in body and field not in sent:
            raise ParameterRefused(part, f"is not supported here: AI_BATCH_FIELDS does not list {field}")


def chat_body(body: Mapping[str, object]) -> dict[str, object]:
    """Return the body of a chat completion for the body of a response. Raises ParameterRefused."""
    kept = {
        name: value
        for name, value in without_token_limits(body)
        if name not in {"input", "instructions", "reasoning", "text"}
    }
    made: dict[str, object] = {"messages": _messages(body), **kept}
    made |= _text_fields(body.get("text"))
    if (effort := _effort(body.get("reasoning"))) is not None:
        made["reasoning_effort"] = effort
    if (tokens := token_limit(body)) is not None:
        made["max_completion_tokens"] = tokens
    return made


def _messages(body: Mapping[str, object]) -> list[dict[str, object]]:
    given, instructions = body.get("input"), body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise _wrong("instructions", "must be a string")
    said: list[dict[str, object]] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str) and given:
        return [*said, {"role": "user", "content": given}]
    if not isinstance(given, Sequence) or not given:
        raise _wrong("input", "must be a text, or a list of one or more messages")
    return said + [_message(item, f"input[{number}]") for number, item in enumerate(given)]


def _message(item: object, path: str) -> dict[str, object]:
    if not isinstance(item, Mapping):
        raise _wrong(path, "must be an object")
    if item.get("type") not in (None, "message"):
        raise ParameterRefused(f"{path}.type", "is supported here only as message")
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise ParameterRefused(f"{path}.role", f"is supported here only as {', '.join(_ROLES)}")
    # A message of an earlier response has an id and a status, which change nothing.
    _only(item, ("type", "role", "content", "id", "status"), path)
    return {"role": _ROLES[role], "content": _content(item.get("content"), f"{path}.content")}


def _content(value: object, path: str) -> str:
    """Return the text of a message. A blank line joins the parts of a message, as in `POST /v1/responses`."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise _wrong(path, "must be a string or a list of parts")
    texts: list[str] = []
    for number, part in enumerate(value):
        here = f"{path}[{number}]"
        if not isinstance(part, Mapping):
            raise _wrong(here, "must be an object")
        if part.get("type") not in _PARTS:
            raise ParameterRefused(f"{here}.type", f"is supported here only as {' or '.join(_PARTS)}")
        _only(part, ("type", "text"), here)
        text = part.get("text")
        if not isinstance(text, str):
            raise _wrong(f"{here}.text", "must be a string")
        texts.append(text)
    return CONCAT_SEPARATOR.join(texts)


def _only(item: Mapping[str, object], known: Sequence[str], path: str) -> None:
    """Refuse a member that is not known, unless it is null or an empty list, as in a part of an earlier response."""
    for name, value in item.items():
        if name not in known and value is not None and value != []:
            raise ParameterRefused(f"{path}.{shown(name)}", "is not supported here")


def _text_fields(text: object) -> dict[str, object]:
    """Return the fields of a chat body for `text`: the form of the output, and how long it should be."""
    if text is None:
        return {}
    if not isinstance(text, Mapping):
        raise _wrong("text", "must be an object")
    _only(text, ("format", "verbosity"), "text")
    made: dict[str, object] = {}
    if (form := _response_format(text.get("format"))) is not None:
        made["response_format"] = form
    verbosity = text.get("verbosity")
    if verbosity not in (None, "medium"):
        made["verbosity"] = verbosity
    return made


def _response_format(form: object) -> dict[str, object] | None:
    if form is None or form == {"type": "text"}:
        return None
    if not isinstance(form, Mapping):
        raise _wrong("text.format", "must be an object")
    match form.get("type"):
        case "json_object":
            _only(form, ("type",), "text.format")
            return {"type": "json_object"}
        case "json_schema":
            _only(form, ("type", *_SCHEMA_MEMBERS), "text.format")
            if not isinstance(form.get("schema"), Mapping):
                raise _wrong("text.format.schema", "must be an object")
            if not isinstance(form.get("name"), str):
                raise _wrong("text.format.name", "must be a string")
            known = {name: form[name] for name in _SCHEMA_MEMBERS if form.get(name) is not None}
            return {"type": "json_schema", "json_schema": known}
        case _:
            raise ParameterRefused("text.format", _FORMATS)


def _effort(reasoning: object) -> object:
    if reasoning is None:
        return None
    if not isinstance(reasoning, Mapping):
        raise _wrong("reasoning", "must be an object")
    _only(reasoning, ("effort",), "reasoning")
    return reasoning.get("effort")


def _wrong(field: str, message: str) -> ParameterRefused:
    return ParameterRefused(field, message, unsupported=False)
