"""Reads the field `input` of `POST /v1/responses`: a text, or messages that contain only text."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...core.task import CONCAT_SEPARATOR
from ..base.problems import (
    INVALID_FIELDS,
    UNSUPPORTED_PARAMETER,
    FieldError,
    ProblemKind,
    Refusal,
    field_refusal,
    named,
)

_ROLES = {"user": "user", "system": "system", "developer": "system"}


class Prompt(NamedTuple):
    """The text of the task, and the text of the system or developer message, None without such a message."""

    text: str
    system: str | None


def read(value: object) -> Prompt:
    """Read the field `input`. Raises Refusal (400), which names the unsupported or wrong field."""
    if isinstance(value, str):
        return Prompt(value, None)
    if not isinstance(value, Sequence):
        raise _refusal("input", "is required" if value is None else "must be a string or a list of messages")
    found: dict[str, str] = {}
    for number, item in enumerate(value):
        path = f"input[{number}]"
        if not isinstance(item, Mapping):
            raise _refusal(path, "must be an object")
        role = _role(item, path)
        if role in found:
            what = "user" if role == "user" else "system or developer"
            raise _refusal(path, f"is a second {what} message; only one is supported", UNSUPPORTED_PARAMETER)
        found[role] = _content(item.get("content"), f"{path}.content")
    if "user" not in found:
        raise _refusal("input", "must have a user message")
    return Prompt(found["user"], found.get("system"))


def _role(item: Mapping[str, object], path: str) -> str:
    """Return the role of a message, `user` or `system`.

    A message with the role `developer` counts as one with the role `system`.
    """
    if item.get("type") not in (None, "message"):
        raise _refusal(f"{path}.type", "is supported here only as message", UNSUPPORTED_PARAMETER)
    role = item.get("role")
    if not isinstance(role, str):
        raise _refusal(f"{path}.role", "is required" if role is None else "must be a string")
    if role not in _ROLES:
        detail = "is supported here only as user, system or developer"
        raise _refusal(f"{path}.role", detail, UNSUPPORTED_PARAMETER)
    _only(item, {"type", "role", "content"}, path)
    return _ROLES[role]


def _content(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise _refusal(path, "must be a string or a list of parts")
    texts = []
    for number, part in enumerate(value):
        here = f"{path}[{number}]"
        if not isinstance(part, Mapping):
            raise _refusal(here, "must be an object")
        if part.get("type") != "input_text":
            raise _refusal(f"{here}.type", "is supported here only as input_text", UNSUPPORTED_PARAMETER)
        _only(part, {"type", "text"}, here)
        text = part.get("text")
        if not isinstance(text, str):
            raise _refusal(f"{here}.text", "must be a string")
        texts.append(text)
    return CONCAT_SEPARATOR.join(texts)


def _only(item: Mapping[str, object], known: set[str], path: str) -> None:
    for name, value in item.items():
        if name not in known and value is not None:
            raise _refusal(f"{path}.{named(name)}", "is not supported here", UNSUPPORTED_PARAMETER)


def _refusal(field: str, message: str, kind: ProblemKind = INVALID_FIELDS) -> Refusal:
    return field_refusal([FieldError(field, message)], kind)
