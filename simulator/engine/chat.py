"""Reads calls as the model does, and writes the answers to those with the body of a chat completion.

Calls for lines of a batch have such a body. Messages with context have marks between their parts.
"""

import re
from collections.abc import Mapping
from typing import Any

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelError, ModelRefused

REFUSAL = {"error": {"message": "The model refuses this request.", "code": "refused"}}
BETWEEN = "¦"  # stands between the parts of a message with context, as the model reads it
_PARTS = re.compile(
    r"[^\n]+\n\n(?:\[\[onceover-1 headings\]\]\n(?P<headings>.+?)\n)?"
    r"(?:\[\[onceover-1 context\]\]\n(?P<context>.+?)\n)?"
    r"\[\[onceover-1 text\]\]\n(?P<text>.+)\n\[\[onceover-1 end\]\]",
    re.DOTALL,
)


def heard(call: ModelCall) -> ModelCall:
    """Return a call as the model reads it: of a body, the messages of the system and of the user."""
    if call.body is None:
        parts = _PARTS.fullmatch(call.user)
        return call if parts is None else call._replace(user=message(**parts.groupdict("")))
    messages: Any = call.body["messages"]
    said = {message["role"]: str(message["content"]) for message in messages}
    return call._replace(system=said.get("system", ""), user=said.get("user", ""))


def message(headings: str, context: str, text: str) -> str:
    """Return the message of a chunk as the model reads it: the chunk alone if nothing goes along."""
    return BETWEEN.join((headings, context, text)) if headings or context else text


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
