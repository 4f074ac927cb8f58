"""Reads the calls that have the body of a chat completion, as those for lines of a batch, and writes their answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelError, ModelRefused

REFUSAL = {"error": {"message": "The model refuses this request.", "code": "refused"}}


def heard(call: ModelCall) -> ModelCall:
    """Return a call as the model reads it: of a body, the messages of the system and of the user."""
    if call.body is None:
        return call
    messages: Any = call.body["messages"]
    said = {message["role"]: str(message["content"]) for message in messages}
    return replace(call, system=said.get("system", ""), user=said.get("user", ""))


def whole(call: ModelCall, reply: ModelReply) -> ModelReply:
    """Return a reply as the caller gets it: of a call with a body, the whole chat completion, if it has none yet."""
    if call.body is None or reply.answer is not None:
        return reply
    message = {"role": "assistant", "content": reply.output}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason or "stop"}
    tokens = {"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens}
    usage = tokens | {"total_tokens": reply.input_tokens + reply.output_tokens}
    return reply._replace(output="", answer={"choices": [choice], "usage": usage})


def answer_of(call: ModelCall, error: ModelError) -> ModelError:
    """Add the whole answer to the refusal of a call with a body."""
    if call.body is not None and isinstance(error, ModelRefused):
        error.answer = 400, REFUSAL
    return error


def content_of(answer: Mapping[str, Any]) -> str:
    """Return what the model said in a chat completion."""
    return str(answer["choices"][0]["message"]["content"])
