"""Writes what a call sends to a model: its messages and fields, and the form that the output must have.

A call without a form sends only the instructions and the client's unchanged text. A call with a form may ask the model
again after a rejected answer: it repeats the rejected answer as a message of the model, and lists the faults in a
message of the user.
"""

import json
import re
from typing import Final

from ..domain import limits
from ..domain.errors import ModelError, ModelReplyMalformed, StructuredOutputUnsupported
from ..domain.ids import split_task_key
from ..domain.structure import Rejection
from . import replies
from .protocol import ModelCall, OutputForm

# HTTP statuses with which a server may refuse the form of the output
FORM_STATUSES: Final = frozenset({400, 422, 500, 501})

_ONLY_JSON = (
    "Your answer must be one JSON object that the JSON Schema below allows. Write only the object: no explanation, no "
    "Markdown.\n\nJSON Schema:\n"
)
# replaces an empty answer: several servers refuse an empty message, or two of one role in a row
_NO_ANSWER = "(empty)"
# Words by which a server refuses the field for a schema, or the schema in it: "Invalid parameter: 'response_format' of
# type 'json_schema' is not supported with this model" (OpenAI), "does not support parameters: ['response_format']"
# (LiteLLM), "The provided JSON schema contains features not supported by xgrammar" (vLLM), "JSON schema error at
# #/properties/a" (llama.cpp), "invalid JSON schema in format" (Ollama), "This model doesn't support JSON Schema"
# (Workers AI).
_OF_THE_FORM = re.compile(
    r"response[ _.]?(?:format|schema)|json[ _-]?(?:schema|mode)|structured[ _]?output|guided[ _]?(?:json|decoding)"
    r"|grammar",
    re.IGNORECASE,
)
# Words with which a server that accepted the schema says that its model's output does not fit: "JSON Mode couldn't be
# met" (Workers AI), "does not match the expected peg-native format" (llama.cpp), `json_validate_failed` (Groq).
_UNFIT = re.compile(
    r"couldn.?t be met|output that does not match the expected|json_validate_failed|failed to generate json",
    re.IGNORECASE,
)
_SAID_CHARS_READ = 4_000
# Keywords of JSON Schema that are so long that an error message would lose them as a client's text.
_KEYWORDS = re.compile("additionalProperties|exclusiveM(?:in|ax)imum")


def messages(call: ModelCall) -> list[dict[str, str]]:
    """Write a call as chat messages: the instructions, the unchanged text, and two more when asking the model again."""
    form = call.form
    system = call.system
    if form is not None and form.in_prompt:
        system = f"{system}\n\n{_ONLY_JSON}" if system else _ONLY_JSON
        system += json.dumps(form.schema, ensure_ascii=False)
    said = [{"role": "system", "content": system}] if system else []
    said.append({"role": "user", "content": call.user})
    if form is not None and form.rejected is not None:
        said.append({"role": "assistant", "content": shown(form.rejected.answer)})
        said.append({"role": "user", "content": _again(form.rejected)})
    return said


def shown(output: str) -> str:
    """Return the beginning of a rejected answer, which the model is shown when it is asked again."""
    return output[: limits.REJECTED_CHARS_MOST] if output.strip() else _NO_ANSWER


def _again(rejected: Rejection) -> str:
    """Write the message that lists a rejected answer's faults, each as a line of limited length."""
    lines = ["Your answer does not fit the JSON Schema:"]
    for pointer, expected in rejected.faults[: limits.FAULTS_MOST]:
        lines.append(f"- at {_line(pointer) or 'the root'}: expected {_line(expected)}")
    if len(rejected.answer) >= limits.REJECTED_CHARS_MOST:
        lines.append("Only the beginning of your answer is repeated above.")
    lines.append("Write the whole corrected JSON object, and nothing else.")
    return "\n".join(lines)


def _line(text: str) -> str:
    return replies.one_line(text[: limits.FAULT_CHARS_MOST])


def fields(call: ModelCall, tokens_name: str, tokens: int | None = None) -> dict[str, object]:
    """Write the fields of a call, except its messages.

    `tokens_name` is the name that the server uses for the field with the limit of tokens. `tokens` is the limit for a
    call that sets no limit of its own. Fields without a value are left out of a call.
    """
    tokens = tokens if call.max_output_tokens is None else call.max_output_tokens
    given = {tokens_name: tokens, "temperature": call.temperature}
    return {**call.options, **{name: value for name, value in given.items() if value is not None}}


def response_format(form: OutputForm | None, *, bare: bool = False) -> dict[str, object]:
    """Write the field `response_format` with the schema, if the call has a form that is sent in this field.

    The form of a call replaces the client's own `response_format`. `bare` writes the schema alone, as Workers AI
    requires, without the name and `strict` that OpenAI puts around the schema.
    """
    if form is None or not form.in_field:
        return {}
    wrapped = {"name": form.name, "strict": form.strict, "schema": form.schema}
    return {"response_format": {"type": "json_schema", "json_schema": form.schema if bare else wrapped}}


def sent_bytes(call: ModelCall) -> int:
    """Return how many bytes of JSON a call sends, about: its content and its fields, in UTF-8."""
    sent = {"messages": messages(call), **call.options} if call.body is None else call.body
    fields = response_format(call.form)
    return len(json.dumps({"model": call.model, **sent, **fields}, ensure_ascii=False).encode("utf-8", "replace"))


def metadata(call: ModelCall) -> dict[str, str]:
    """Return what Cloudflare's AI Gateway notes of a call: the tenant's name and the task's id."""
    assert call.task_key is not None
    return dict(zip(("tenant", "task"), split_task_key(call.task_key), strict=True))


def client_texts(call: ModelCall) -> list[str]:
    """Return those texts that a provider's error message may quote: the client's texts, and a repeated answer."""
    if call.body is not None:
        from .whole_answers import client_texts as texts_of_line  # noqa: PLC0415 - only batches make such calls

        return texts_of_line(call.body)
    texts = [call.user, call.system, *(json.dumps(value, ensure_ascii=False) for value in call.options.values())]
    if call.form is not None:
        texts.append(without_keywords(json.dumps(call.form.schema, ensure_ascii=False)))
        if call.form.rejected is not None:
            texts += [shown(call.form.rejected.answer), _again(call.form.rejected)]
    return texts


def without_keywords(schema: str) -> str:
    """Return a schema's JSON without keywords that an error message may name although a client's text has them too."""
    return _KEYWORDS.sub("", schema)


def form_failure(call: ModelCall, said: str, message: str) -> ModelError | None:
    """Return the error that a provider's words about the form of the output mean, or None for other words.

    `message` must be safe to show. If the provider says that the model's output does not fit, the next try may succeed.
    If the provider refuses the field or the schema, every further try fails too.
    """
    if call.form is None:
        return None
    said = said[:_SAID_CHARS_READ]
    if _UNFIT.search(said):
        return ModelReplyMalformed(message)
    if call.form.in_field and _OF_THE_FORM.search(said):
        return StructuredOutputUnsupported(f"{message}. STRUCTURED_OUTPUT=prompt leaves this field out")
    return None
