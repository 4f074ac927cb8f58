"""The demo provider's answers to lines of a batch: whole chat completions, made from the last message of the user."""

from collections.abc import Mapping, Sequence
from typing import Final

from ...kernel.calls import replies
from ...kernel.calls.protocol import ModelCall, ModelReply
from ...kernel.calls.whole_answers import error_body, sent_fields
from ...kernel.domain.errors import ModelRefused
from ..batches.lines.response_objects import completion_text
from ..structured.schema.keywords import SchemaRefused
from ..structured.schema.schema import parse_schema
from . import demo

_TOKENS = "max_tokens"
# The schema that is used for a line that asks for any JSON object as output.
_ANY_OBJECT: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {"headline": {"type": "string"}, "terms": {"type": "array", "items": {"type": "string"}}},
    "required": ["headline", "terms"],
}


def line_reply_of(call: ModelCall) -> ModelReply:
    """Return the analysis of the last message of the user, as Markdown or as JSON of the line's `response_format`.

    A line without such a message, or with a schema that is not supported, is refused with 400.
    """
    fields = sent_fields(call, _TOKENS)
    texts = _texts(fields.get("messages"))
    asked = next((text for role, text in reversed(texts) if role == "user"), "")
    if not asked.strip():
        raise _refusal("messages must have a message of the user with a text")
    schema = _schema(fields.get("response_format"))
    whole = demo.analysis(asked) if schema is None else demo.formed(schema, asked)
    tokens = fields.get(_TOKENS)
    output = demo.cut(whole, tokens if isinstance(tokens, int) else None)
    reason = "stop" if output == whole else "length"
    sent = demo.estimated_tokens("".join(text for _, text in texts))
    made = demo.estimated_tokens(output)
    message = {"role": "assistant", "content": output, "refusal": None}
    answer: dict[str, object] = {
        "object": "chat.completion",
        "model": call.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made},
    }
    return ModelReply("", sent, made, reason, answer=answer)


def _texts(messages: object) -> list[tuple[object, str]]:
    """Return the role and the text of each message of a line. Parts of a message that are not texts are left out."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return []
    return [
        (message.get("role"), completion_text(message.get("content")))
        for message in messages
        if isinstance(message, Mapping)
    ]


def _schema(form: object) -> Mapping[str, object] | None:
    """Return the schema that the output must fit, or None if any text is allowed as output."""
    match replies.member(form, "type"):
        case "json_object":
            return _ANY_OBJECT
        case "json_schema":
            document = replies.member(replies.member(form, "json_schema"), "schema")
            try:
                return parse_schema(document, strict=False).document
            except SchemaRefused as error:
                raise _refusal(f"response_format has a schema that is not supported: {error}") from None
        case _:
            return None


def _refusal(message: str) -> ModelRefused:
    return ModelRefused("the demo refused the line", of_call=True, answer=(400, error_body(message, None)))
