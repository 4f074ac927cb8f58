"""Reads the field `input` of `POST /v1/responses`: a text, or messages that contain text, or a file with the text."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ...kernel.api.base.fields import NO_NUL, Plain, refused
from ...kernel.api.base.problems import UNSUPPORTED_PARAMETER, named
from ...kernel.domain.ids import FILE_ID_PATTERN
from ...kernel.domain.task import CONCAT_SEPARATOR

Text = Annotated[str, Field(json_schema_extra=NO_NUL)]


class TextPart(Plain):
    """A part of a message."""

    type: Literal["input_text"]
    text: Text


class InputFilePart(Plain):
    """A part of the user message: an uploaded file of the purpose `user_data` that has the text, in UTF-8."""

    type: Literal["input_file"]
    file_id: Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})]


class Message(Plain):
    """A message of the input."""

    role: Literal["user", "system", "developer"]
    content: Text | list[TextPart | InputFilePart]
    type: Literal["message"] = "message"


_ROLES = {"user": "user", "system": "system", "developer": "system"}


class GivenFile(NamedTuple):
    """A file that has the text of the task: its id, and the path of the field that names it."""

    id: str
    path: str


class Prompt(NamedTuple):
    """The text of the task, and the text of the system or developer message, None without such a message.

    With a `file`, the file has the text of the task, and `text` says what to do with it; it may be empty.
    """

    text: str
    system: str | None
    file: GivenFile | None = None


def read(value: object) -> Prompt:
    """Read the field `input`. Raises Refusal (400), which names the unsupported or wrong field."""
    if isinstance(value, str):
        return Prompt(value, None)
    if not isinstance(value, Sequence):
        raise refused("input", "is required" if value is None else "must be a string or a list of messages")
    found: dict[str, str] = {}
    files: list[GivenFile] = []
    for number, item in enumerate(value):
        path = f"input[{number}]"
        if not isinstance(item, Mapping):
            raise refused(path, "must be an object")
        role = _role(item, path)
        if role in found:
            what = "user" if role == "user" else "system or developer"
            raise refused(path, f"is a second {what} message; only one is supported", UNSUPPORTED_PARAMETER)
        found[role] = _content(item.get("content"), f"{path}.content", files if role == "user" else None)
    if "user" not in found:
        raise refused("input", "must have a user message")
    if len(files) > 1:
        raise refused(files[1].path, "is a second file; only one is supported", UNSUPPORTED_PARAMETER)
    return Prompt(found["user"], found.get("system"), files[0] if files else None)


def _role(item: Mapping[str, object], path: str) -> str:
    """Return the role of a message, `user` or `system`; `developer` counts as `system`."""
    if item.get("type") not in (None, "message"):
        raise refused(f"{path}.type", "is supported here only as message", UNSUPPORTED_PARAMETER)
    role = item.get("role")
    if not isinstance(role, str):
        raise refused(f"{path}.role", "is required" if role is None else "must be a string")
    if role not in _ROLES:
        detail = "is supported here only as user, system or developer"
        raise refused(f"{path}.role", detail, UNSUPPORTED_PARAMETER)
    _only(item, {"type", "role", "content"}, path)
    return _ROLES[role]


def _content(value: object, path: str, files: list[GivenFile] | None) -> str:
    """Return the text of a message, and add its files to `files`; None if the message may have none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence):
        raise refused(path, "must be a string or a list of parts")
    texts = []
    for number, part in enumerate(value):
        here = f"{path}[{number}]"
        if not isinstance(part, Mapping):
            raise refused(here, "must be an object")
        if files is not None and part.get("type") == "input_file":
            files.append(_file(part, here))
            continue
        if part.get("type") != "input_text":
            known = "input_text" if files is None else "input_text or input_file"
            raise refused(f"{here}.type", f"is supported here only as {known}", UNSUPPORTED_PARAMETER)
        _only(part, {"type", "text"}, here)
        text = part.get("text")
        if not isinstance(text, str):
            raise refused(f"{here}.text", "must be a string")
        texts.append(text)
    return CONCAT_SEPARATOR.join(texts)


def _file(part: Mapping[str, object], path: str) -> GivenFile:
    _only(part, {"type", "file_id"}, path)
    file_id = part.get("file_id")
    if not isinstance(file_id, str):
        raise refused(f"{path}.file_id", "is required" if file_id is None else "must be a string")
    return GivenFile(file_id, f"{path}.file_id")


def _only(item: Mapping[str, object], known: set[str], path: str) -> None:
    for name, value in item.items():
        if name not in known and value is not None:
            raise refused(f"{path}.{named(name)}", "is not supported here", UNSUPPORTED_PARAMETER)
