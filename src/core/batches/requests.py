"""Turns the body of a line into the body that goes to the provider: that of a chat completion, without its model."""

from collections.abc import Mapping

from . import responses_input
from .endpoints import CHAT, BatchEndpoint
from .fields import token_limit, without_token_limits


def call_body(endpoint: BatchEndpoint, body: Mapping[str, object]) -> Mapping[str, object]:
    """Return the body of the call for `Line.body`, which `check_line` has found valid.

    The limit of tokens is called `max_completion_tokens`; a provider gives it the name that its server knows.
    """
    if endpoint != CHAT:
        return responses_input.chat_body(body)
    tokens = token_limit(body)
    made = dict(without_token_limits(body))
    return made if tokens is None else {**made, "max_completion_tokens": tokens}
