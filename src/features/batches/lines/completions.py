"""Adds what a provider's answer lacks of a whole chat completion, so that the types of OpenAI's SDKs accept it."""

from collections.abc import Mapping

ROLE = "assistant"


def whole_completion(answer: Mapping[str, object], *, own_id: str, model: str, now_ms: int) -> dict[str, object]:
    """Add what an answer lacks of a chat completion: `own_id`, `model`, and `now_ms` as the time it was made."""
    given = {name: value for name, value in answer.items() if name not in {"id", "object", "created", "model"}}
    choices = answer.get("choices")
    if isinstance(choices, list):
        given["choices"] = [_whole_choice(choice, position) for position, choice in enumerate(choices)]
    return {
        "id": _text_or(answer.get("id"), own_id),
        "object": "chat.completion",
        "created": created_of(answer, now_ms),
        "model": _text_or(answer.get("model"), model),
        **given,
    }


def created_of(answer: Mapping[str, object], now_ms: int) -> int:
    """Return when an answer was made, in seconds since the epoch."""
    created = answer.get("created")
    if isinstance(created, int | float) and not isinstance(created, bool) and 0 < created < 2**53:
        return int(created)
    return now_ms // 1000


def _whole_choice(choice: object, position: int) -> object:
    if not isinstance(choice, Mapping):
        return choice
    message = choice.get("message")
    whole = {"index": position, "logprobs": None, **choice}
    if isinstance(message, Mapping):
        whole["message"] = {"role": ROLE, "content": None, "refusal": None, **message}
    if whole.get("finish_reason") is None:
        whole["finish_reason"] = "stop"
    return whole


def _text_or(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and value else otherwise
