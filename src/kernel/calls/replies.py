"""Reads the replies of all providers: usable outputs, plausible token counts, and causes of errors safe to show.

A model's reply, and an error message too, is hostile input: it may have any shape and size, and may repeat what was
sent.
"""

import re
from collections.abc import Iterable, Mapping

from pydantic_core import from_json, to_json

from ..domain import limits
from ..domain.errors import ModelDayUsedUp, ModelError, ModelQuotaExhausted, ModelReplyMalformed
from ..domain.task import CONTENT_FILTER, LENGTH_REASONS
from .protocol import ModelReply

# the most tokens in a call that are believed: above any model, and a task's sum is exact in JavaScript
TOKENS_MOST = 1_000_000_000
CAUSE_CHARS_MOST = 200
_CAME_CHARS_MOST = 100  # how much of a reply without usable output is shown
_CAUSE_CHARS_READ = 400  # how many characters of a message are searched for repeated client text at most
REPEATED_CHARS_LEAST = 12
_REPEATED_KEY_CHARS_LEAST = 6
_HIDDEN_CHARS_LEAST = 4  # a secret with fewer characters is not searched for, because a match could be by chance
_ELLIPSIS = "…"

# Codes of Cloudflare's AI Gateway for a used-up budget ("spend limit"), and for a prepaid balance of 0. Its
# documentation has no list of codes: these are from users' reports until October 2026.
SPENT_CODES = frozenset({2021, 2041, 2045})

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_WRITTEN = re.compile(r"((?:\\u[0-9a-fA-F]{4})+)|\\(?:([nrtbf])|(.))")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def member(document: object, name: str) -> object:
    """Return a member of a JSON object, or None if the value is not an object or has no such member."""
    return document.get(name) if isinstance(document, Mapping) else None


def parse(body: bytes) -> object:
    """Parse JSON, or raise ModelReplyMalformed.

    If a string of the reply has half of a surrogate pair as an escape, this half becomes U+FFFD. `json.loads` is not
    safe for a reply: deep nesting overflows the WebAssembly stack and kills the interpreter. The parser of pydantic
    refuses JSON that is nested more than 200 levels deep.
    """
    try:
        return from_json(body)
    except ValueError:
        mended = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
    if mended != body:
        try:
            return from_json(mended)
        except ValueError:
            pass
    raise ModelReplyMalformed("the reply is not JSON")


def chat_reply(document: object, *, formed: bool) -> ModelReply:
    """Read the first choice of a chat completion in OpenAI's shape, or raise ModelReplyMalformed.

    `formed`: see `text_reply`. If a model refuses to produce the form, the output is the text of its refusal, with the
    finish reason `content_filter`. Such a text is never repaired, and it does not fit the schema.
    """
    choices = member(document, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = member(first, "message")
    if not isinstance(message, Mapping):
        raise ModelReplyMalformed("the reply has no message")
    content, reason = message.get("content"), member(first, "finish_reason")
    refusal = message.get("refusal")
    if formed and not content and isinstance(refusal, str) and refusal.strip():
        content, reason = refusal, CONTENT_FILTER
    return text_reply(content, document, reason, formed=formed)


def text_reply(content: object, document: object, finish_reason: object, *, formed: bool) -> ModelReply:
    """Make a reply from a text (a string or a list of text parts), a document with tokens, and a finish reason.

    If a content filter withheld the whole text, the output is empty, because the text would also be withheld if the
    call were repeated. Raises ModelReplyMalformed if the reply has no text, or if its text is too long. D1 cannot store
    NUL and halves of surrogate pairs, so each of them becomes U+FFFD.

    `formed` says that the call asked the model for JSON. An object in its reply then counts as the text of the object's
    JSON, and an answer that was cut off before its first word is an empty output, judged like any other cut output.
    """
    if formed and isinstance(content, Mapping):
        content = as_json(content)
    if isinstance(content, list):
        parts = [member(part, "text") for part in content if member(part, "type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    reason = finish_reason_of(finish_reason)
    may_be_empty = reason == CONTENT_FILTER or (formed and reason == "length")
    if may_be_empty and content is None:
        content = ""
    if not isinstance(content, str) or not (content.strip() or may_be_empty):
        before = " before it was cut off: maxOutputTokens may be too small" if reason == "length" else ""
        raise ModelReplyMalformed(f"the reply has no text{before}")
    if len(content) > limits.OUTPUT_CHARS_MOST:
        raise ModelReplyMalformed(f"the reply's text exceeds {limits.OUTPUT_CHARS_MOST} characters")
    read, made, cached = tokens_of(document)
    return ModelReply(_UNSTORABLE.sub("\ufffd", content), read, made, reason, cached_tokens=cached)


def as_json(value: object) -> str:
    """Write a value as compact JSON. Raises ModelReplyMalformed if the value is nested too deep, or is not JSON."""
    try:
        return to_json(value, inf_nan_mode="constants").decode()
    except ValueError:
        raise ModelReplyMalformed("the reply holds an object that is not JSON") from None


def finish_reason_of(value: object) -> str | None:
    """Read a finish reason, None if it is no text. Several servers' words for a cut become `length`."""
    if not isinstance(value, str) or not (word := one_line(value[: limits.FINISH_REASON_CHARS_MOST])):
        return None
    return "length" if word.lower() in LENGTH_REASONS else word


def cause(text: str, *, key: str | None = None, client_texts: Iterable[str] = ()) -> str:
    """Make a provider's error message safe for logs and clients: one short line without API key or client text.

    Providers often quote the text that they refuse. An ellipsis replaces each stretch of at least 12 characters that
    also occurs in a client's text, and each stretch of at least 6 characters that also occurs in the API key.
    """
    line = one_line(text[: 4 * _CAUSE_CHARS_READ])[:_CAUSE_CHARS_READ]
    if key:
        line = without(line, key)
    for client_text in client_texts:
        line = _without(line, one_line(client_text), REPEATED_CHARS_LEAST)
    return line if len(line) <= CAUSE_CHARS_MOST else line[: CAUSE_CHARS_MOST - 1] + _ELLIPSIS


def unusable(
    error: ModelReplyMalformed, came: str, body: str, *, client_texts: Iterable[str], key: str | None = None
) -> ModelReplyMalformed:
    """Add to an error what came instead of a usable output: `came` says in which form, `body` has its text.

    The beginning of the body is shown as `cause` shows it. JSON's escapes are undone before, because a text of the
    client would not be found in its escaped form.
    """
    begins = _WRITTEN.sub(_undone, body[: 4 * _CAUSE_CHARS_READ])
    shown = cause(begins, key=key, client_texts=client_texts)[:_CAME_CHARS_MOST]
    return ModelReplyMalformed(f"{error} ({came}): {shown or 'nothing'}", error.delay_seconds)


def _undone(escape: re.Match[str]) -> str:
    if escape[1] is None:
        return " " if escape[2] else escape[3]
    return bytes.fromhex(escape[1].replace("\\u", "")).decode("utf-16-be", "replace")


def one_line(text: str) -> str:
    """Replace each run of control characters and white space by one space."""
    return _CONTROL.sub(" ", text).strip()


def without(text: str, key: str) -> str:
    """Replace by an ellipsis each stretch of at least 6 characters of a text that also occurs in the API key."""
    least = min(_REPEATED_KEY_CHARS_LEAST, len(key))
    # most texts contain no part of the key, and this check is faster than the search for each stretch
    parts = (key[at : at + least] for at in range(len(key) - least + 1))
    return _without(text, key, least) if any(part in text for part in parts) else text


def _without(line: str, hidden: str, least: int) -> str:
    if len(hidden) < _HIDDEN_CHARS_LEAST:
        return line
    least = min(least, len(hidden))
    kept: list[str] = []
    start = 0
    while start < len(line):
        end = start + least
        if end > len(line) or line[start:end] not in hidden:
            kept.append(line[start])
            start += 1
            continue
        while end < len(line) and line[start : end + 1] in hidden:
            end += 1
        kept.append(_ELLIPSIS)
        start = end
    return "".join(kept)


def is_from_cache(headers: Mapping[str, str]) -> bool:
    """Whether an answer came from the cache of Cloudflare's AI Gateway, and therefore costs nothing."""
    return headers.get("cf-aig-cache-status", "").upper() == "HIT"


def spent(message: str, delay: float | None) -> ModelError:
    """Return the error for a gateway's used-up budget, which waits for the reset if the answer names one."""
    return ModelQuotaExhausted(message) if delay is None else ModelDayUsedUp(message, delay)


def error_of(body: bytes) -> tuple[str, frozenset[str]]:
    """Read the message and codes of an error's body: empty, and none, if it is not JSON, such as a proxy's page."""
    try:
        document = parse(body)
    except ModelReplyMalformed:
        return "", frozenset()
    error = member(document, "error") or member(document, "errors") or document
    if isinstance(error, list):  # as Cloudflare writes errors
        error = error[0] if error else None
    if isinstance(error, str):
        return error, frozenset()
    words = (member(error, name) for name in ("message", "detail", "description"))
    codes = (member(error, name) for name in ("code", "type", "internalCode"))
    message = next((said for said in words if isinstance(said, str)), "")
    return message, frozenset(str(code) for code in codes if isinstance(code, str | int))


def tokens_of(document: object) -> tuple[int, int, int]:
    """Return the counts of an answer of whatever form: input, output and cached input; 0 if missing or impossible."""
    usage = member(document, "usage")
    cached = member(member(usage, "prompt_tokens_details"), "cached_tokens")
    if cached is None:  # old llama.cpp
        cached = member(member(document, "timings"), "cache_n")
    read, made = member(usage, "prompt_tokens"), member(usage, "completion_tokens")
    return token_count(read), token_count(made), token_count(cached)


def token_count(value: object) -> int:
    """Return the value if it is a plausible count of tokens, and 0 otherwise."""
    # `type(…) is int`, because `isinstance` would also accept `True` as an int.
    return value if type(value) is int and 0 <= value <= TOKENS_MOST else 0
