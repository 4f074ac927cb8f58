"""Cloudflare Workers AI through its binding, which reports errors as exceptions with a code in the text.

Codes: https://developers.cloudflare.com/workers-ai/platform/errors/
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Protocol

from ..core.errors import (
    ModelConnectionLost,
    ModelError,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from . import replies
from .protocol import Health, ModelCall, ModelReply

DEFAULT_MODEL = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
# Where a call does not say. The platform's default is 256, which would cut most answers off in mid-sentence.
OUTPUT_TOKENS = 4_096

_NO_BINDING = 'the Workers AI binding is missing: put [ai] with binding = "AI" into wrangler.toml, or set AI_PROVIDER'
# "3040: Capacity …", "InferenceUpstreamError: 3040: Capacity …"
_CODE = re.compile(r"\s*(?:[A-Za-z]+:\s*){0,4}(\d{4})\b")
# 4006 says the same as the documented 3036: the day's free allocation is used up.
_QUOTA_CODES = frozenset({3036, 4006})
_REFUSAL_CODES = frozenset({3003, 3006, 3023, 3039, 3041, 3042, 5004, 5005, 5007, 5016, 5018, 5019})


class AiBinding(Protocol):
    """The binding `AI` as the SDK wraps it: results arrive as dict and list."""

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        """Run a model once. Raises whatever the platform raises, with a code in its text."""
        ...


class WorkersAIProvider:
    """Model calls over the binding; without one, every call is refused with a text that says what to set."""

    name = "workers-ai"

    def __init__(self, ai: AiBinding | None, *, model: str | None, timeout_seconds: float) -> None:
        self.default_model = model or DEFAULT_MODEL
        self._ai = ai
        self._timeout_seconds = timeout_seconds

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once. Raises a `ModelError` that names the cause, without the text."""
        if self._ai is None:
            raise ModelRefused(_NO_BINDING)
        inputs = {"messages": replies.messages(call), **replies.asked(call, "max_tokens", OUTPUT_TOKENS)}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                result = await self._ai.run(call.model, inputs)
        except TimeoutError:
            raise replies.too_late(self._timeout_seconds) from None
        except Exception as error:  # noqa: BLE001 - the binding's errors share no narrower type
            raise _failure(str(error), call) from None
        if isinstance(result, Mapping) and "choices" not in result:
            return _text_reply(result, inputs.get("max_tokens"))
        return replies.chat_reply(result)

    async def probe(self) -> Health:
        """Say whether the binding is there; the binding has no call that costs nothing."""
        if self._ai is None:
            return Health("unavailable", _NO_BINDING)
        return Health("healthy", "the Workers AI binding is there; it was not called, as calls are paid")


def _text_reply(result: Mapping[str, object], tokens_most: object) -> ModelReply:
    """Read the platform's own shape. It says nothing of an output's end: one that is as long as it may be was cut."""
    usage, reason = result.get("usage"), result.get("finish_reason")
    if reason is None and replies.member(usage, "completion_tokens") == tokens_most:
        reason = "length"
    return replies.text_reply(result.get("response"), usage, reason)


def _failure(said: str, call: ModelCall) -> ModelError:
    detail = replies.cause(said, client_texts=replies.client_texts(call))
    message = f"Workers AI: {detail}" if detail else "Workers AI gave no reason"
    found = _CODE.match(said)
    code = int(found[1]) if found else None
    if code in _QUOTA_CODES:
        return ModelQuotaExhausted(message)
    if code in _REFUSAL_CODES:
        return ModelRefused(message)
    if code == 3021:
        return ModelRateLimited(message)
    if code is None and "network connection lost" in said.lower():
        return ModelConnectionLost(message)
    return ModelUnavailable(message)  # 3007, 3040, 3008, and whatever the platform may add
