"""Judges the health of a model's server by its answer to `GET {AI_BASE_URL}/models`."""

from ..core.errors import ModelReplyMalformed
from . import replies
from .protocol import Health, HttpReply


def health_of(reply: HttpReply, model: str, *, has_key: bool) -> Health:
    """Judge the answer to `GET {AI_BASE_URL}/models`.

    The `detail` of the health names the variable that should be checked, if there is one.
    """
    status = reply.status
    if 200 <= status < 300:
        if _lacks(reply.body, model):
            return Health("degraded", f"the server answers but does not list the model {model}: check AI_MODEL")
        return Health("healthy", "the server answers")
    if status in {401, 403}:
        said = "the server refused the key: check AI_API_KEY" if has_key else "the server needs a key: set AI_API_KEY"
        return Health("unavailable", said)
    if status in {404, 405}:
        return Health("degraded", "the server answers but lists no models: calls may or may not work")
    if 300 <= status < 400:
        return Health("unavailable", "the server redirects: AI_BASE_URL must be the final address")
    return Health("degraded", f"the server answered {status}")


def _lacks(body: bytes, model: str) -> bool:
    """Whether the reply lists models, and none of them is `model` in any spelling that servers accept for this name.

    Ollama adds `:latest` to a name without a tag. Gemini puts `models/` before each name. llama.cpp and
    llama-cpp-python list their one model and serve it under any name.
    """
    try:
        listed = replies.member(replies.parse(body), "data")
    except ModelReplyMalformed:
        return False
    if not isinstance(listed, list) or not listed:
        return False
    if len(listed) == 1 and replies.member(listed[0], "owned_by") in {"llamacpp", "me"}:
        return False
    names = [replies.member(one, "id") for one in listed]
    return not any(name in {model, f"{model}:latest", f"models/{model}"} for name in names if isinstance(name, str))
