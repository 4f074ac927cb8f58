"""The fields of a line's body: which reach the provider, which change nothing, and which are refused.

No field is dropped in silence. A field that does not reach the provider is refused, unless it has a value with which
the answer is the same as without the field. `_UNSENT` has these fields and values.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ....kernel.domain import limits

_NAME_CHARS_MOST = 60

# Names of the same field in the bodies of both endpoints. A chat body has no field of the right side, and the other
# way round. `reasoning` and `text` of a response also contain fields that a chat body has at its top.
ONLY_CHAT: Final = frozenset({"messages", "max_tokens", "max_completion_tokens", "response_format"})
ONLY_RESPONSES: Final = frozenset({"input", "instructions", "max_output_tokens", "text", "reasoning"})
_TOKEN_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
# Fields of a response that a chat body cannot express, even if AI_BATCH_FIELDS lists them for chat bodies.
_NOT_IN_RESPONSES: Final = frozenset({"tools", "tool_choice", "include", "prompt", "stream_options", "top_logprobs"})

_Passes = Callable[[object], bool]


def _one_of(*values: object) -> _Passes:
    # 1 and true differ in JSON, and Python calls them equal
    return lambda value: any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def _is_a(kind: type) -> _Passes:
    return lambda value: isinstance(value, kind)


def _is_metadata(value: object) -> bool:
    """Whether a value has at most 16 pairs of texts, as OpenAI's API demands of `metadata`."""
    if not isinstance(value, Mapping) or len(value) > limits.RESPONSE_METADATA_PAIRS_MOST:
        return False
    return all(
        isinstance(text, str)
        and len(name) <= limits.RESPONSE_METADATA_KEY_CHARS_MOST
        and len(text) <= limits.RESPONSE_METADATA_VALUE_CHARS_MOST
        for name, text in value.items()
    )


# The fields of both endpoints that do not reach the provider, which values they may have besides null, and these values
# in words. A line is one call whose answer is whole, so `stream` and `n` have only one value.
_UNSENT_BY_BOTH: Final[Mapping[str, tuple[_Passes, str]]] = {
    "metadata": (_is_metadata, "an object of at most 16 pairs of texts"),
    "parallel_tool_calls": (_one_of(True), "true"),
    "prompt_cache_key": (_is_a(str), "a string"),
    "prompt_cache_retention": (_is_a(str), "a string"),
    "safety_identifier": (_is_a(str), "a string"),
    "service_tier": (_one_of("auto", "default", "flex"), "auto, default or flex"),
    "store": (_is_a(bool), "true or false"),
    "stream": (_one_of(False), "false"),
    "tool_choice": (_one_of("auto", "none"), "auto or none"),
    "tools": (_one_of([]), "an empty list"),
    "top_logprobs": (_one_of(0), "0"),
    "user": (_is_a(str), "a string"),
}
_UNSENT_BY_CHAT: Final[Mapping[str, tuple[_Passes, str]]] = {
    **_UNSENT_BY_BOTH,
    "function_call": (_one_of("auto", "none"), "auto or none"),
    "functions": (_one_of([]), "an empty list"),
    "logit_bias": (_one_of({}), "an empty object"),
    "logprobs": (_one_of(False), "false"),
    "modalities": (_one_of(["text"]), '["text"]'),
    "n": (_one_of(1), "1"),
    "verbosity": (_one_of("medium"), "medium"),
}
_UNSENT_BY_RESPONSES: Final[Mapping[str, tuple[_Passes, str]]] = {
    **_UNSENT_BY_BOTH,
    "background": (_is_a(bool), "true or false"),
    "context_management": (_one_of([]), "an empty list"),
    "include": (_one_of([]), "an empty list"),
    "truncation": (_one_of("disabled"), "disabled"),
}


class ParameterRefused(Exception):
    """A body's `field`, a path, is `unsupported` here, or else wrong. The message follows the path in a sentence."""

    def __init__(self, field: str, message: str, *, unsupported: bool = True) -> None:
        super().__init__(message)
        self.field = field
        self.unsupported = unsupported


def sorted_fields(
    body: Mapping[str, object], sent: frozenset[str], *, is_chat: bool
) -> tuple[dict[str, object], dict[str, object]]:
    """Return the fields of a body that reach the provider, without the model, and those that change nothing.

    `sent` are the names of AI_BATCH_FIELDS. A field with the value null counts as missing. Raises ParameterRefused.
    """
    reaching: dict[str, object] = {}
    unsent: dict[str, object] = {}
    harmless = _UNSENT_BY_CHAT if is_chat else _UNSENT_BY_RESPONSES
    for name, value in body.items():
        if value is None or name == "model":
            continue
        if _reaches(name, sent, is_chat=is_chat):
            reaching[name] = value
        elif name in harmless:
            passes, words = harmless[name]
            if not passes(value):
                raise ParameterRefused(name, f"is supported here only as {words}")
            unsent[name] = value
        else:
            raise ParameterRefused(shown(name), _why_not(name, is_chat=is_chat))
    _check_token_limits(reaching)
    if unsent.get("tool_choice") == "none" and "tools" in reaching:
        raise ParameterRefused("tool_choice", "is supported here only as auto")
    return reaching, unsent


def _reaches(name: str, sent: frozenset[str], *, is_chat: bool) -> bool:
    """Whether a field of a body reaches the provider, perhaps only in a part."""
    if is_chat:
        return name in sent and name not in ONLY_RESPONSES
    if name in {"reasoning", "text"}:
        return True  # parts of them reach the provider under other names, which `responses_input` checks
    return name in sent and name not in ONLY_CHAT and name not in _NOT_IN_RESPONSES


def _why_not(name: str, *, is_chat: bool) -> str:
    if name in (ONLY_RESPONSES if is_chat else ONLY_CHAT):
        return f"is not a field of {'/v1/chat/completions' if is_chat else '/v1/responses'}"
    if not is_chat and name in _NOT_IN_RESPONSES:
        return "is not supported here for /v1/responses"
    return "is not supported here: AI_BATCH_FIELDS does not list it"


def _check_token_limits(body: Mapping[str, object]) -> None:
    found: dict[str, object] = {name: body[name] for name in _TOKEN_LIMITS if name in body}
    for name, value in found.items():
        if type(value) is not int or not 1 <= value <= limits.OUTPUT_TOKENS_MOST:
            message = f"must be a whole number from 1 to {limits.OUTPUT_TOKENS_MOST}"
            raise ParameterRefused(name, message, unsupported=False)
    if len(set(found.values())) > 1:
        message = "must be the same as 'body.max_tokens', if both are set"
        raise ParameterRefused("max_completion_tokens", message, unsupported=False)


def not_harmless(body: Mapping[str, object], *, is_chat: bool) -> frozenset[str]:
    """Return the names of the fields of a body that change its answer, or may."""
    harmless = _UNSENT_BY_CHAT if is_chat else _UNSENT_BY_RESPONSES
    return frozenset(name for name, value in body.items() if name not in harmless or not harmless[name][0](value))


def token_limit(body: Mapping[str, object]) -> object:
    """Return the limit of tokens in a body, by any of its names, or None."""
    return next((body[name] for name in _TOKEN_LIMITS if body.get(name) is not None), None)


def without_token_limits(body: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the other fields of a body."""
    return ((name, value) for name, value in body.items() if name not in _TOKEN_LIMITS)


def shown(name: str) -> str:
    """Return a field's name from a line, made safe to show: shortened, with unprintable characters escaped."""
    bounded = name if len(name) <= _NAME_CHARS_MOST else name[:_NAME_CHARS_MOST] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in bounded)
