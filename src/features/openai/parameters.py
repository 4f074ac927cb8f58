"""The fields of `POST /v1/responses` without an effect in Onceover, which may only have OpenAI's default values.

Any other value is refused, and the refusal names the field. `DEFAULTS` and `fields.NewResponseFields` together have
each parameter of the SDK's method `responses.create`, as a test checks.
"""

import json
from collections.abc import Iterator, Mapping

from ...kernel.api.base.problems import FieldError, named

# The values that a field may have besides null; of an object, those of each of its own fields.
Passing = tuple[object, ...] | Mapping[str, tuple[object, ...]]

DEFAULTS: Mapping[str, Passing] = {
    "access_programs": (),
    "context_management": ([],),
    "conversation": (),
    "image": {"context_compression": ("auto",)},
    "include": ([],),
    "max_tool_calls": (),
    "moderation": (),
    "parallel_tool_calls": (True,),
    "previous_response_id": (),
    "prompt": (),
    "prompt_cache_key": (),
    "prompt_cache_options": {"mode": ("implicit",), "comparison_response_id": (), "prewarm": (False,)},
    "prompt_cache_retention": (),
    "safety_identifier": (),
    # The service tier `flex` allows a slow answer, as every response of onceover may be. A response always shows
    # the service tier `default`, as OpenAI does if it served a request under this tier.
    "service_tier": ("auto", "default", "flex"),
    "stream_options": {"include_obfuscation": (False,)},
    # With `tool_choice` `auto` and with `none` no tool is called, because a request may give no tools.
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "user": (),
}

# What to do instead of some fields that newcomers send.
_INSTEAD = {
    "tools": ": no tool is called. For JSON of a certain form use text.format with a JSON Schema (docs/openai.md)",
    "previous_response_id": ": responses do not build on each other. Send all of the text as input",
    "conversation": ": responses do not build on each other. Send all of the text as input",
}

# The fields of `reasoning` that have no effect here, and their allowed values besides null: none.
REASONING: Mapping[str, tuple[object, ...]] = {"summary": (), "generate_summary": (), "context": (), "mode": ()}


def refused(body: Mapping[str, object]) -> Iterator[FieldError]:
    """Find the fields of a request that are in `DEFAULTS` and have a value that is not allowed."""
    for name, value in body.items():
        if name in DEFAULTS:
            yield from misfits(name, value, DEFAULTS[name])


def misfits(name: str, value: object, passing: Passing) -> Iterator[FieldError]:
    """Find the values in a field that the field may not have."""
    if value is None:
        return
    if isinstance(passing, tuple):
        # as JSON compares: 1 and true differ, and 0.0 and 0 are the same
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in passing):
            words = " or ".join(json.dumps(one) for one in passing)
            takes = f"is supported here only as {words}" if passing else "is not supported here"
            yield FieldError(name, takes + _INSTEAD.get(name, ""))
    elif not isinstance(value, Mapping):
        yield FieldError(name, "must be an object")
    else:
        for inner, item in value.items():
            yield from misfits(f"{name}.{named(inner)}", item, passing.get(inner, ()))


def schema(passing: Passing) -> dict[str, object]:
    """Describe in JSON Schema the values that a field of a request may have."""
    if isinstance(passing, tuple):
        return {"enum": [*passing, None]}
    inner = {name: schema(values) for name, values in passing.items()}
    return {"anyOf": [{"type": "object", "properties": inner, "additionalProperties": False}, {"type": "null"}]}
