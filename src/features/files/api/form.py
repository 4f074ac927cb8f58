"""Reads the form of an upload: checks each field when it arrives, and hands on the file's bytes as they come."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from ....kernel.api.base.fields import checked
from ....kernel.api.base.messages import BodyBroken
from ....kernel.api.base.problems import (
    MALFORMED_BODY,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    UNSUPPORTED_PARAMETER,
    FieldError,
    Refusal,
    field_refusal,
    named,
)
from ....kernel.domain import limits
from ..file import Purpose
from ..multipart import MEDIA_TYPE, Event, Field, FileEnd, FileStart, Malformed, MultipartParser, boundary_of
from .shapes import ANCHOR, SECONDS, NewFileFields

_FILE = "file"
_FIELDS = frozenset({"purpose", ANCHOR, SECONDS})
_WHOLE = re.compile("[0-9]{1,9}")
_UNNAMED = "upload"  # What SDKs call a file without a name.
# What the other fields are checked with before they have all arrived.
_STANDING_IN: Mapping[str, object] = {_FILE: "", "purpose": "batch"}

# Stores the next bytes of a file.
type Take = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a form says of its file. `keeps_ms` is None if the file is kept until it is deleted."""

    purpose: Purpose
    filename: str
    keeps_ms: int | None


@dataclass(slots=True)
class _Form:
    fields: dict[str, object] = field(default_factory=dict)
    filename: str | None = None


def boundary(headers: Mapping[str, str]) -> bytes:
    """Return the boundary of a form. Raises Refusal: 415 for another media type or an encoding, 400 without it."""
    content_type = headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, f"Send a form, with Content-Type: {MEDIA_TYPE}.")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed, without a Content-Encoding.")
    try:
        return boundary_of(content_type)
    except Malformed as error:
        raise Refusal(MALFORMED_BODY, str(error)) from None


async def read_form(chunks: AsyncGenerator[bytes], boundary: bytes, most_bytes: int, take: Take) -> NewFile:
    """Read a form, and pass its file to `take`. Raises Refusal: 400 malformed, 413 above `most_bytes`."""
    parser, form, size = MultipartParser(boundary), _Form(), 0
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if size > most_bytes:
                    raise Refusal(TOO_LARGE, f"The body has more than {most_bytes} bytes.")
                for event in parser.feed(chunk):
                    await _handle(event, form, take)
        parser.finish()
    except Malformed as error:
        raise Refusal(MALFORMED_BODY, str(error)) from None
    except BodyBroken:
        raise Refusal(MALFORMED_BODY, "The body is incomplete: it ends too early, or its chunks are wrong.") from None
    return _new_file(form)


async def _handle(event: Event, form: _Form, take: Take) -> None:
    match event:
        case bytes():
            await take(event)
        case Field(name, value):
            _add(form, name, value)
        case FileStart(name, filename):
            _check_name(name)
            if name != _FILE:
                raise field_refusal([FieldError(name, "must be a field without a filename")])
            if form.filename is not None:
                raise field_refusal([FieldError(name, "is given more than once")])
            form.filename = shown_name(filename)
        case _:
            assert isinstance(event, FileEnd)


def _add(form: _Form, name: str, value: bytes) -> None:
    """Check a field, so that a form with a wrong field is refused before its file is stored."""
    _check_name(name)
    if name == _FILE:
        raise field_refusal([FieldError(name, "must be sent as a file, with a filename")])
    if name in form.fields:
        raise field_refusal([FieldError(name, "is given more than once")])
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise field_refusal([FieldError(name, "must be UTF-8")]) from None
    form.fields[name] = int(text) if name == SECONDS and _WHOLE.fullmatch(text) else text
    checked(NewFileFields, {**_STANDING_IN, **form.fields})


def _check_name(name: str) -> None:
    if name != _FILE and name not in _FIELDS:
        raise field_refusal([FieldError(named(name), "is not supported here")], UNSUPPORTED_PARAMETER)


def _new_file(form: _Form) -> NewFile:
    given = form.fields if form.filename is None else {**form.fields, _FILE: ""}
    fields = checked(NewFileFields, given)
    if (fields.anchor is None) != (fields.seconds is None):
        missing = ANCHOR if fields.anchor is None else SECONDS
        raise field_refusal([FieldError(missing, "is required with the other field of expires_after")])
    assert form.filename is not None
    purpose = Purpose(fields.purpose)
    # OpenAI deletes the files of batches after 30 days too.
    default = limits.FILE_EXPIRY_SECONDS[1] if purpose is Purpose.BATCH else None
    seconds = default if fields.seconds is None else fields.seconds
    return NewFile(purpose, form.filename, None if seconds is None else seconds * 1000)


def shown_name(filename: str) -> str:
    """Return a filename without its folders and unprintable characters, and not too long."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(char for char in name if char.isprintable()).strip()
    return kept[: limits.FILENAME_CHARS_MOST] or _UNNAMED
