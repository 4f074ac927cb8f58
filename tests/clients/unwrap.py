"""Checks a webhook with `openai`: {"body", "headers", "secrets"} in; the event, or the error, out."""

import json
import sys
from typing import Any

import openai


def unwrapped(body: str, headers: dict[str, str], secret: str) -> list[str]:
    try:
        event: Any = openai.OpenAI(api_key="any").webhooks.unwrap(body, headers, secret=secret)
    except openai.InvalidWebhookSignatureError as error:
        return [type(error).__name__]
    return [event.id, event.type, event.data.id]


if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps([unwrapped(told["body"], told["headers"], secret) for secret in told["secrets"]]))
