"""The field `text` of `POST /v1/responses`: plain text, or a schema, which is checked as `outputSchema` is."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from ...kernel.api.base.fields import Plain
from ...kernel.api.base.problems import NOT_JOINABLE, FieldError, Refusal, named
from ...kernel.domain import limits
from ...kernel.domain.task import Reduce
from ..structured.fields import SCHEMA_SHAPE, WantedOutput
from . import parameters

SCHEMA_FIELD: Final = "text.format.schema"
_JOIN_FIELD = "onceover.join"
_JSON_SCHEMA = "json_schema"
_VERBOSITY = ("medium",)
_FORMATS = (
    'is supported here only as {"type": "text"}, or as {"type": "json_schema", "name": …, "schema": …, "strict": …}'
)


class PlainFormatFields(Plain):
    """The format of plain text."""

    type: Literal["text"]


class SchemaFormatFields(Plain):
    """The format of JSON that fits a schema. A missing `strict` means false, as in OpenAI's API."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=limits.SCHEMA_NAME_CHARS_MOST, pattern=r"^[a-zA-Z0-9_-]+$")]
    document: dict[str, object] = Field(alias="schema", json_schema_extra=SCHEMA_SHAPE)
    strict: bool | None = None
    description: None = None


class TextFields(Plain):
    """The format of the response's text."""

    format: PlainFormatFields | SchemaFormatFields | None = Field(None, discriminator="type")
    verbosity: Literal["medium"] | None = None


def unsupported(text: object) -> Iterator[FieldError]:
    """Find what the field `text` may not contain: another format, or a field that its format does not take."""
    if not isinstance(text, Mapping):
        yield from parameters.misfits("text", text, {})
        return
    for name, value in text.items():
        if name == "verbosity":
            yield from parameters.misfits("text.verbosity", value, _VERBOSITY)
        elif name != "format":
            yield from parameters.misfits(f"text.{named(name)}", value, ())
        elif isinstance(value, Mapping) and value.get("type") == _JSON_SCHEMA:
            yield from parameters.misfits("text.format.description", value.get("description"), ())
        elif value is not None and value != {"type": "text"}:
            yield FieldError("text.format", _FORMATS)


def as_sent(flaw: FieldError) -> FieldError:
    """Name a wrong field by its place in the body, without the format's type, which pydantic puts into the name."""
    return flaw._replace(field=flaw.field.replace(f"text.format.{_JSON_SCHEMA}.", "text.format.", 1))


def reduced(wanted: WantedOutput, *, is_open: bool) -> WantedOutput:
    """Check the schema. If the request leaves `reduce` open (`is_open`), a schema that needs no rules gets `concat`."""
    if wanted.schema is not None and is_open:
        joined = wanted._replace(reduce=Reduce.CONCAT)
        try:
            joined.check(SCHEMA_FIELD, _JOIN_FIELD)
        except Refusal as refusal:
            if refusal.kind is not NOT_JOINABLE:
                raise
        else:
            return joined
    wanted.check(SCHEMA_FIELD, _JOIN_FIELD)
    return wanted
