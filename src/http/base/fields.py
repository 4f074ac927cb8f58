"""The building blocks of request bodies, and the check of a body against its model.

The model of a request body is a class of pydantic. `/openapi.json` is made from the same models, so it describes
exactly what a body is checked against.
"""

import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from .problems import FieldError, field_refusal, named

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


class Asked(BaseModel):
    """The base of the models of the native API's request bodies."""

    # `strict` refuses the text "6000" as a number, and true as 1. `hide_input_in_errors` keeps the client's input out
    # of error texts and logs.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, hide_input_in_errors=True
    )


class Plain(BaseModel):
    """The base of request models whose fields have OpenAI's names, with underscores."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


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

    The recursion of `text_flaws` is bounded, because `parse_object` has refused deeply nested bodies. A flaw anywhere
    inside `metadata` is reported as a flaw of the field `metadata`. `check_document` checks an output schema.
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
