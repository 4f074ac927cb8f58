"""Bodies, field by field: from a JSON object to a checked model, and that of `POST /api/tasks` to a request."""

import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError

from ..core import limits
from ..core.settings import Settings
from ..core.task import Reduce
from ..processing.submission import Request
from .problems import TOO_LARGE, FieldError, field_refusal, named
from .schemas import NewTaskFields

_CLEARER = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def new_request(body: Mapping[str, object], settings: Settings) -> Request:
    """Check every field. Raises Refusal: 422 with each wrong field named, 413 for an input that is too large."""
    fields = checked(NewTaskFields, body)
    if flaws := list(_flaws(fields, settings)):
        raise field_refusal(flaws)
    size = len(fields.input.encode())
    if size > settings.input_bytes:
        message = f"has {size} bytes of UTF-8, more than the {settings.input_bytes} of MAX_INPUT_BYTES"
        raise field_refusal([FieldError("input", message)], TOO_LARGE)
    return Request(
        text=fields.input,
        instructions=fields.instructions,
        reduce=fields.reduce or Reduce.CONCAT,
        max_chars=fields.chunk.max_chars if fields.chunk else None,
        overlap_chars=(fields.chunk.overlap_chars or 0) if fields.chunk else 0,
        model=fields.model,
        metadata=fields.metadata or {},
        deadline_seconds=fields.deadline_seconds,
        max_calls=fields.max_model_calls,
    )


def checked[Model: BaseModel](model: type[Model], body: Mapping[str, object]) -> Model:
    """Check a body against its model. Raises Refusal: 422 with each wrong field named."""
    if flaws := list(_text_flaws(body)):
        raise field_refusal(flaws)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise field_refusal(_field_errors(error)) from None


def too_many_chunks(most: int) -> FieldError:
    """Say that the input, cut as asked, makes more chunks than a task may have."""
    return FieldError("chunk.maxChars", f"is too small: the input would need more than {most} chunks")


def too_much_repeated(mostly: str) -> FieldError:
    """Say that the calls for the chunks would send too much, mostly "overlaps" or "instructions"."""
    field = "chunk.overlapChars" if mostly == "overlaps" else "instructions"
    message = f"is too long for so many chunks: their calls would send more than {limits.SENT_CHARS_MOST} characters"
    return FieldError(field, message)


def _field_errors(error: ValidationError) -> Iterator[FieldError]:
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        path = ".".join(named(str(part)) for part in item["loc"])
        yield FieldError(path, _CLEARER.get(item["type"], item["msg"]))


def _flaws(fields: NewTaskFields, settings: Settings) -> Iterator[FieldError]:
    """Find what the schema cannot say."""
    if fields.chunk and fields.chunk.overlap_chars is not None:
        max_chars = fields.chunk.max_chars if fields.chunk.max_chars is not None else settings.chunk_chars
        if fields.chunk.overlap_chars >= max_chars:
            yield FieldError("chunk.overlapChars", f"must be less than maxChars, which is {max_chars}")
    if fields.model is not None and not fields.model.isprintable():
        yield FieldError("model", "must hold printable characters only")
    if fields.metadata is not None:
        size = len(json.dumps(fields.metadata, ensure_ascii=False, separators=(",", ":")).encode())
        if size > limits.METADATA_BYTES_MOST:
            message = f"has {size} bytes as compact JSON, more than the {limits.METADATA_BYTES_MOST} that are taken"
            yield FieldError("metadata", message)


def _text_flaws(value: object, path: str = "") -> Iterator[FieldError]:
    """Find strings, names of fields among them, that UTF-8 or the database cannot hold, anywhere in the body.

    A body's nesting is bounded before it gets here. Whatever is inside `metadata` counts as `metadata`.
    """
    if isinstance(value, str):
        if (flaw := _flaw(value)) is not None:
            yield FieldError(path, flaw)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            inner = path if path == "metadata" else f"{path}.{named(name)}" if path else named(name)
            if (flaw := _flaw(name)) is not None:
                yield FieldError(inner, f"has a name that {flaw}" if inner == path else f"is a name that {flaw}")
            else:
                yield from _text_flaws(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _text_flaws(item, path)


def _flaw(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character (U+0000), which the database cannot store"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character"
    return None
