"""Makes whole Response objects, as `/v1/responses` returns them, from chat completions."""

import json
from collections.abc import Mapping
from typing import Final

from ....kernel.domain import task
from .completions import ROLE, created_of
from .fields import token_limit

# The most characters of JSON that a response repeats of a field of its request, and of all fields together. The
# instructions may be as long as a line, and a line of the output file has at most OUTPUT_LINE_CHARS_MOST.
_REPEATED_CHARS_MOST: Final = 20_000
_ALL_REPEATED_CHARS_MOST: Final = 80_000
# OpenAI's defaults, which a response shows if its request gave no value.
_TEMPERATURE, _TOP_P = 1.0, 1.0
_PLAIN: Final = {"type": "text"}

# Fields of OpenAI's Response object that have no value here, so a response shows them as null.
_NEVER: Final = (
    *("max_tool_calls", "previous_response_id", "prompt", "prompt_cache_options", "prompt_cache_diagnostics"),
    *("tool_usage", "access_programs", "conversation", "image", "input_transformations", "moderation"),
)


def response_object(
    answer: Mapping[str, object],
    *,
    digits: str,
    body: Mapping[str, object],
    unsent: Mapping[str, object],
    model: str,
    now_ms: int,
) -> dict[str, object]:
    """Return the Response object for a chat completion. `digits` make its ids, and those of its message.

    `body` and `unsent` are the fields of the line (`Line`), which a response repeats. `model` is used if the answer
    names none.
    """
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    choice = choice if isinstance(choice, Mapping) else {}
    reason = _incomplete_reason(choice.get("finish_reason"))
    created, named = created_of(answer, now_ms), answer.get("model")
    status = "completed" if reason is None else "incomplete"
    return {
        "id": f"resp_{digits}",
        "object": "response",
        "created_at": created,
        "status": status,
        "background": unsent.get("background", False),
        "completed_at": max(created, now_ms // 1000) if reason is None else None,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": named if isinstance(named, str) and named else model,
        "output": [_message(choice.get("message"), f"msg_{digits}", status)],
        "usage": _usage(answer.get("usage")),
        **_repeated(body, unsent),
        **dict.fromkeys(_NEVER),
    }


def _repeated(body: Mapping[str, object], unsent: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that a response repeats from its request. A field that is too long is shown as if missing."""
    missing = _asked({}, {})
    found: dict[str, object] = {}
    left = _ALL_REPEATED_CHARS_MOST
    for name, value in _asked(body, unsent).items():
        size = len(json.dumps(value))
        fits = size <= min(left, _REPEATED_CHARS_MOST)
        found[name] = value if fits else missing[name]
        left -= size if fits else 0
    return found


def _asked(body: Mapping[str, object], unsent: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a request as a response shows them, with OpenAI's defaults for those that are missing."""
    reasoning = body.get("reasoning")
    return {
        "instructions": body.get("instructions"),
        "max_output_tokens": token_limit(body),
        "metadata": unsent.get("metadata", {}),
        "parallel_tool_calls": True,
        "prompt_cache_key": unsent.get("prompt_cache_key"),
        "prompt_cache_retention": unsent.get("prompt_cache_retention"),
        "reasoning": {"effort": reasoning.get("effort") if isinstance(reasoning, Mapping) else None, "summary": None},
        "safety_identifier": unsent.get("safety_identifier"),
        "service_tier": "default",
        "store": unsent.get("store", True),
        "temperature": _number(body.get("temperature"), _TEMPERATURE),
        "text": _text(body.get("text")),
        "tool_choice": unsent.get("tool_choice", "auto"),
        "tools": [],
        "top_logprobs": 0,
        "top_p": _number(body.get("top_p"), _TOP_P),
        "truncation": "disabled",
        "user": unsent.get("user"),
    }


def _number(value: object, missing: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else missing


def _text(text: object) -> dict[str, object]:
    given = text if isinstance(text, Mapping) else {}
    form = given.get("format") or _PLAIN
    if isinstance(form, Mapping) and form.get("type") == "json_schema":
        form = {"description": None, "strict": False, **form}
    return {"format": form, "verbosity": given.get("verbosity") or "medium"}


def _incomplete_reason(finish_reason: object) -> str | None:
    """Return why an output is incomplete, in the words of a response, or None."""
    if finish_reason == task.CONTENT_FILTER:
        return "content_filter"
    return "max_output_tokens" if str(finish_reason).lower() in task.LENGTH_REASONS else None


def _message(message: object, own_id: str, status: str) -> dict[str, object]:
    found = message if isinstance(message, Mapping) else {}
    text, refusal = completion_text(found.get("content")), found.get("refusal")
    content: list[dict[str, object]] = []
    if text or not refusal:
        content.append({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    if isinstance(refusal, str) and refusal:
        content.append({"type": "refusal", "refusal": refusal})
    return {"id": own_id, "type": "message", "status": status, "role": ROLE, "content": content}


def completion_text(content: object) -> str:
    """Return the text of a chat message's content, which is a text or a list of parts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _usage(usage: object) -> dict[str, object] | None:
    """Return the tokens of a chat completion under the names of a response, None if it has no counts."""
    if not isinstance(usage, Mapping):
        return None
    sent, made = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    of_input, of_output = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return {
        "input_tokens": sent,
        "input_tokens_details": {
            "cached_tokens": _count(of_input, "cached_tokens"),
            "cache_write_tokens": _count(of_input, "cache_write_tokens"),
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _count(of_output, "reasoning_tokens")},
        "total_tokens": _count(usage, "total_tokens") or sent + made,
    }


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if type(value) is int and value >= 0 else 0
