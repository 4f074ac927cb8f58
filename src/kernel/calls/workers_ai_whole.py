"""Workers AI for the lines of a batch: what the binding gets for a line, and how its result becomes a whole answer."""

import json
import re
from collections.abc import Mapping

from ..domain.errors import ModelRefused, ModelReplyMalformed
from . import replies
from .protocol import ModelCall, ModelReply
from .whole_answers import error_body, line_reply, sent_fields

# The reasoning before an answer, which gets a field of its own, as from other servers.
_THOUGHTS = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
# The HTTP statuses in Cloudflare's list for codes that do not mean 400.
_STATUSES = {3006: 413, 3023: 403, 3041: 403, 3042: 404, 5007: 404, 5016: 403, 5018: 403, 5019: 405, 5035: 403}
# Codes that refuse the account or the model, and therefore would refuse every line. The codes 7xxx, which are about the
# address, would also refuse every line.
_OF_ALL_LINES = frozenset({3023, 3039, 3041, 3042, 5005, 5007, 5016, 5018, 5019, 5035})
_OF_ALL_LINES_THOUSAND = 7


def inputs(call: ModelCall, tokens: int) -> dict[str, object]:
    """Write the inputs that the binding gets for a line.

    `tokens` is the limit of output tokens for a line that sets no limit of its own. The schema of an output is sent
    alone, without the name and `strict` that OpenAI puts around it. If a message's content is a list of texts, they
    become one text, because most models accept no lists.
    """
    fields = sent_fields(call, "max_tokens", tokens)
    messages = fields.get("messages")
    if isinstance(messages, list):
        fields["messages"] = [_with_text(message) for message in messages]
    form = fields.get("response_format")
    schema = replies.member(replies.member(form, "json_schema"), "schema")
    if isinstance(form, Mapping) and isinstance(schema, Mapping):
        fields["response_format"] = {**form, "json_schema": schema}
    return fields


def _with_text(message: object) -> object:
    content = replies.member(message, "content")
    if not isinstance(message, Mapping) or not isinstance(content, list):
        return message
    texts = [replies.member(part, "text") for part in content if replies.member(part, "type") == "text"]
    if not content or len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
        return message
    return {**message, "content": "".join(map(str, texts))}


def reply(result: object, tokens_most: object) -> ModelReply:
    """Make the reply from the binding's result. Raises ModelReplyMalformed if it has no answer."""
    if not isinstance(result, Mapping):
        raise ModelReplyMalformed("the reply has no message")
    document = dict(result) if "choices" in result else _completion(result, tokens_most)
    document = _without_thoughts(document)
    try:
        written = json.dumps(document).encode()
    except (TypeError, ValueError):
        raise ModelReplyMalformed("the reply is not JSON") from None
    return line_reply(replies.parse(written), len(written))


def _completion(result: Mapping[str, object], tokens_most: object) -> dict[str, object]:
    """Make a chat completion of the older shape. Without a finish reason, `tokens_most` tokens count as cut off."""
    said, called, usage = result.get("response"), _tool_calls(result.get("tool_calls")), result.get("usage")
    if isinstance(said, Mapping | list):
        said = json.dumps(said, ensure_ascii=False)
    if not isinstance(said, str) and not called:
        raise ModelReplyMalformed("the reply has no text")
    reason = result.get("finish_reason")
    if reason is None and replies.member(usage, "completion_tokens") == tokens_most:
        reason = "length"
    message: dict[str, object] = {"role": "assistant", "content": said}
    if called:
        message["tool_calls"] = called
    choice = {"index": 0, "message": message, "finish_reason": reason or ("tool_calls" if called else "stop")}
    made: dict[str, object] = {"choices": [choice]}
    return made if usage is None else {**made, "usage": usage}


def _tool_calls(called: object) -> list[object]:
    """Bring tool calls of the older shape into OpenAI's. Calls that have it already stay."""
    if not isinstance(called, list):
        return []
    return [_tool_call(number, one) for number, one in enumerate(called)]


def _tool_call(number: int, one: object) -> object:
    if isinstance(one, Mapping) and isinstance(one.get("function"), Mapping):
        return {"id": f"call_{number}", "type": "function", **one}
    given = replies.member(one, "arguments")
    # OpenAI writes arguments as a JSON object's text. Some models of Workers AI do, others give the object.
    written = given if isinstance(given, str) else json.dumps({} if given is None else given, ensure_ascii=False)
    function = {"name": replies.member(one, "name"), "arguments": written}
    return {"id": f"call_{number}", "type": "function", "function": function}


def _without_thoughts(document: dict[str, object]) -> dict[str, object]:
    """Move the reasoning before an answer into `reasoning_content`. Without an answer it stays where it is."""
    choices = document["choices"]
    if not isinstance(choices, list):
        return document
    return {**document, "choices": [_thoughtless(choice) for choice in choices]}


def _thoughtless(choice: object) -> object:
    message = replies.member(choice, "message")
    content = replies.member(message, "content")
    thoughts = _THOUGHTS.match(content) if isinstance(content, str) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping) or thoughts is None:
        return choice
    assert isinstance(content, str)
    if not (left := content[thoughts.end() :]):
        return choice
    return {**choice, "message": {"reasoning_content": thoughts[1].strip(), **message, "content": left}}


def refusal(message: str, said: str, code: int | None, *, too_long: bool) -> ModelRefused:
    """Return the error for a refused line, with an answer in OpenAI's shape, because the binding gives only a text."""
    status = 413 if too_long else _STATUSES.get(code or 0, 400)
    of_all = code is not None and (code in _OF_ALL_LINES or code // 1000 == _OF_ALL_LINES_THOUSAND)
    answer = status, error_body(said, None if code is None else str(code))
    return ModelRefused(message, of_call=too_long or not of_all, answer=answer)
