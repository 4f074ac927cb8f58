"""Model calls for lines of a batch: what is sent, and how whole answers and refusals are read.

A line's body is sent to the provider unchanged, and the provider's answer is kept whole. Only a batch makes such calls,
so the providers import this module only when the first such call comes.
"""

import json
from collections.abc import Iterator, Mapping

from ..domain import limits
from ..domain.errors import ModelError, ModelRefused, ModelReplyMalformed
from . import asking, replies
from .protocol import ModelCall, ModelReply

_TOKENS = "max_completion_tokens"
# A smaller reply gives no answer of more than ANSWER_CHARS_MOST characters: a byte becomes at most six.
_SURELY_SHORT_BYTES = limits.ANSWER_CHARS_MOST // 6
_CODE_CHARS_MOST = 200
_CUT_OFF = " … [cut off]"  # The end of a message that was longer.
_SEARCHED_CHARS_MOST = 50_000
_BETWEEN = "\uffff"  # The separator between texts that are searched at once: no message contains it.


def sent_fields(call: ModelCall, tokens_name: str, tokens: int | None = None) -> dict[str, object]:
    """Write a call's fields, from its body. `tokens_name` and `tokens`: the limit of output, and its default."""
    assert call.body is not None
    body = dict(call.body)
    tokens = tokens if call.max_output_tokens is None else call.max_output_tokens
    wanted = body.pop(_TOKENS, None)
    limit = tokens if wanted is None else wanted
    return body if limit is None else {**body, tokens_name: limit}


def line_reply(document: object, raw_bytes: int) -> ModelReply:
    """Make the reply from a whole chat completion.

    The content of the answer may be empty. `raw_bytes` is the size of the answer's JSON. Raises ModelReplyMalformed if
    the document has no message, or is too large for a line of an output file.
    """
    found = replies.member(document, "choices")
    choices = found if isinstance(found, list) else []
    first = choices[0] if choices else None
    if not isinstance(document, Mapping) or not isinstance(replies.member(first, "message"), Mapping):
        raise ModelReplyMalformed("the reply has no message")
    if len(choices) > limits.ANSWER_CHOICES_MOST:
        raise ModelReplyMalformed(f"the reply has more than {limits.ANSWER_CHOICES_MOST} choices")
    if raw_bytes > _SURELY_SHORT_BYTES and len(json.dumps(document)) > limits.ANSWER_CHARS_MOST:
        raise ModelReplyMalformed(f"the reply exceeds {limits.ANSWER_CHARS_MOST} characters of JSON in ASCII")
    read, made, cached = replies.tokens_of(document)
    reason = replies.finish_reason_of(replies.member(first, "finish_reason"))
    return ModelReply("", read, made, reason, answer=document, cached_tokens=cached)


def with_refusal(error: ModelError, status: int, raw: bytes, key: str | None) -> ModelError:
    """Add the provider's answer to the error of a refused call: its status, and its body without the API key."""
    if isinstance(error, ModelRefused):
        error.answer = status, _refusal_body(raw, key)
    return error


def _refusal_body(raw: bytes, key: str | None) -> object:
    """Return the JSON object of a refusal. Another body becomes the message of such an object.

    Of an object that is too large, message and code are kept. A message that was cut off says so.
    """
    document: object = None
    if len(raw) <= limits.REFUSAL_READ_BYTES_MOST:
        try:
            document = replies.parse(_struck(raw.decode("utf-8", "replace"), key).encode())
        except ModelReplyMalformed:
            document = None
    if isinstance(document, Mapping):
        if len(json.dumps(document)) <= limits.REFUSAL_CHARS_MOST:
            return document
        error = document.get("error")
        said, code = replies.member(error, "message"), replies.member(error, "code")
        message = said if isinstance(said, str) else json.dumps(document, ensure_ascii=False)
        return error_body(message, code[:_CODE_CHARS_MOST] if isinstance(code, str) else None, is_cut=True)
    text = raw[: 4 * limits.REFUSAL_MESSAGE_CHARS_MOST].decode("utf-8", "replace")
    return error_body(_struck(text, key), None, is_cut=len(raw) > 4 * limits.REFUSAL_MESSAGE_CHARS_MOST)


def error_body(message: str, code: str | None, *, is_cut: bool = False) -> dict[str, object]:
    """Return a refusal's body in OpenAI's shape. A long message is cut and says so, as with `is_cut`."""
    line = replies.one_line(message)
    if is_cut or len(line) > limits.REFUSAL_MESSAGE_CHARS_MOST:
        line = line[: limits.REFUSAL_MESSAGE_CHARS_MOST - len(_CUT_OFF)] + _CUT_OFF
    return {"error": {"message": line, "type": "invalid_request_error", "param": None, "code": code}}


def _struck(text: str, key: str | None) -> str:
    """Remove the API key from a text. The client's own text may stay in the text, because only the client reads it."""
    return text if key is None else replies.without(text, key)


def passing_words(said: str, body: Mapping[str, object]) -> str:
    """Return a provider's words about a temporary failure, or an empty text if the line is long.

    The words are shown only without the client's text, and searching 1 MB of text for it takes 0.1 s of processor time.
    While the provider limits the rate, each line of a batch may fail a hundred times.
    """
    return said if sum(map(len, strings_in(body))) <= _SEARCHED_CHARS_MOST else ""


def client_texts(body: Mapping[str, object]) -> list[str]:
    """Return the client's texts in a body, which an error message may quote, joined to be searched at once."""
    texts = list(strings_in(body))
    # a schema's JSON has names that the client chose; that of messages only names that the API knows
    others = (value for name, value in body.items() if name != "messages" and isinstance(value, Mapping | list))
    texts += (asking.without_keywords(json.dumps(value, ensure_ascii=False)) for value in others)
    found = [text.strip() for text in texts if len(text) >= replies.REPEATED_CHARS_LEAST]
    return [_BETWEEN.join(found)] if found else []


def strings_in(value: object) -> Iterator[str]:
    """Yield the strings in a JSON value, in their order, without the names of its members."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            left += reversed(list(one.values()))
        elif isinstance(one, list):
            left += reversed(one)
