"""Calls Cloudflare Workers AI through its binding, which raises errors whose text contains a code.

Cloudflare lists some of them at https://developers.cloudflare.com/workers-ai/platform/errors/.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Protocol

from ..domain import limits
from ..domain.errors import (
    ModelConnectionLost,
    ModelDayUsedUp,
    ModelError,
    ModelMisconfigured,
    ModelRateLimited,
    ModelRefused,
    ModelReplyMalformed,
    ModelTimeout,
    ModelUnavailable,
)
from . import asking, replies
from .pace import retry_after_seconds
from .protocol import Health, HttpReply, HttpReplyTooLarge, ModelCall, ModelReply

# It costs a sixth of what a dense model with 70 billion parameters does: docs/configuration.md has the figures.
DEFAULT_MODEL = "@cf/qwen/qwen3-30b-a3b-fp8"
# The limit of output tokens for a call that sets no limit of its own. The default limit of Workers AI, 256 or 2,000
# tokens, would cut off many answers in mid-sentence.
OUTPUT_TOKENS = 4_096

_NO_BINDING = 'the Workers AI binding is missing: put [ai] with binding = "AI" into wrangler.toml, or set AI_PROVIDER'
# Matches the code at the beginning of an error's text: "3040: Capacity …", "InferenceUpstreamError: 3040: Capacity …".
_CODE = re.compile(r"\s*(?:[A-Za-z]+:\s*){0,4}(\d{4})\b")
# 4006 means the same as the documented 3036: the day's free allocation is used up.
_QUOTA_CODES = frozenset({3036, 4006}) | replies.SPENT_CODES
# 2003 is the AI Gateway's own rate limit.
_RATE_LIMIT_CODES = frozenset({3021, 2003})
_UNKNOWN_MODEL = 5007
_TRANSIENT_CODES = frozenset({3007, 3008, 3040, 3043, 3046})
_REFUSAL_CODES = frozenset({3003, 3006, 3010, 3023, 3039, 3041, 3042})
# The codes 5xxx listed mean 400, 403 or 405, as do 7xxx and 8xxx of Cloudflare's API: the request is at fault.
_REFUSAL_THOUSANDS = frozenset({5, 7, 8})
# Codes for an output without the requested form, which a repeated call may have.
_MALFORMED_CODES = frozenset({5024})
# Words in the error for a request too long for the model, which has the code 5021 or 3010, or none.
_TOO_LONG = re.compile(r"context (?:window|length)|maximum context", re.IGNORECASE)
_AT_FAULT = re.compile(
    r"\b(?:invalid|unsupported|unauthori[sz]ed|forbidden|not (?:supported|allowed|authori[sz]ed)|bad (?:request|input)"
    r"|too large|required propert)",
    re.IGNORECASE,
)
# The reasoning that a model may write before its answer; the platform does not always remove it.
_THOUGHTS = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


class AiBinding(Protocol):
    """The binding `AI`, which returns its results as Python dicts and lists."""

    async def run(self, model: str, inputs: dict[str, object]) -> object:
        """Run a model once; cancelling aborts the run. Raises the platform's error, whose text has a code."""
        ...

    async def run_through(self, model: str, inputs: dict[str, object], gateway: Mapping[str, object]) -> HttpReply:
        """Run a model once through an AI Gateway, and return the answer with its headers, even if it is an error."""
        ...


class WorkersAIProvider:
    """Makes calls through the binding `AI`. Without it, each call is refused with what must be set.

    With `gateway`, the name of an AI Gateway of the account, all calls go through the gateway.
    """

    name = "workers-ai"

    def __init__(
        self, ai: AiBinding | None, *, model: str | None, timeout_seconds: float, gateway: str | None = None
    ) -> None:
        self.default_model = model or DEFAULT_MODEL
        self._ai = ai
        self._timeout_seconds = timeout_seconds
        self._gateway = gateway

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once. Raises a `ModelError` that names the cause, without client text."""
        if self._ai is None:
            raise ModelMisconfigured(_NO_BINDING)
        if call.body is not None:
            from . import workers_ai_whole  # noqa: PLC0415 - only batches make such calls

            inputs = workers_ai_whole.inputs(call, OUTPUT_TOKENS)
        else:
            fields = asking.fields(call, "max_tokens", OUTPUT_TOKENS) | asking.response_format(call.form, bare=True)
            inputs = {"messages": asking.messages(call), **fields}
        result, from_cache = await self._run(self._ai, call, inputs)
        if from_cache:
            try:
                return _read(result, call, inputs)._replace(from_cache=True)
            except ModelReplyMalformed:
                # A gateway's cache would repeat an unusable answer, so the call is sent past the cache.
                result, _ = await self._run(self._ai, call, inputs, skip_cache=True)
        return _read(result, call, inputs)

    async def _run(
        self, ai: AiBinding, call: ModelCall, inputs: dict[str, object], *, skip_cache: bool = False
    ) -> tuple[object, bool]:
        """Run the model once. Return the result, of a gateway as bytes, and whether the gateway's cache had it."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._gateway is None:
                    return await ai.run(call.model, inputs), False
                retries = {"maxAttempts": 1}  # the gateway's own retries would be calls that no ledger has
                named = {"id": self._gateway, "metadata": asking.metadata(call), "retries": retries}
                reply = await ai.run_through(call.model, inputs, {**named, "skipCache": skip_cache})
        except HttpReplyTooLarge:
            return b"", False
        except TimeoutError:
            raise ModelTimeout(f"no reply within {self._timeout_seconds:g} s") from None
        except Exception as error:  # noqa: BLE001 - the binding's errors share no narrower type
            raise self._failure(str(error), call) from None
        if not 200 <= reply.status < 300:
            said, codes = replies.error_of(reply.body)
            code = min(filter(str.isdigit, codes), default="")
            delay = retry_after_seconds(reply.headers, limits.RESET_SECONDS_MOST)
            raise self._failure(f"{code}: {said}" if code else said or f"HTTP {reply.status}", call, delay)
        return reply.body, replies.is_from_cache(reply.headers)

    def _failure(self, said: str, call: ModelCall, delay: float | None = None) -> ModelError:
        error = _failure(said, call, delay)
        if not isinstance(error, ModelRefused) or call.model != self.default_model or _code(said) != _UNKNOWN_MODEL:
            return error
        return ModelMisconfigured(str(error), answer=error.answer)

    async def probe(self) -> Health:
        """Check only whether the binding exists, because every call through the binding costs money."""
        if self._ai is None:
            return Health("unavailable", _NO_BINDING)
        return Health("healthy", "the Workers AI binding exists; it was not called, because calls are billed")


def _read(result: object, call: ModelCall, inputs: Mapping[str, object]) -> ModelReply:
    """Make the reply from the binding's result. Raises ModelReplyMalformed if it has no usable output."""
    formed, tokens = call.form is not None, inputs.get("max_tokens")
    try:
        if isinstance(result, bytes):
            result = replies.parse(result)
        if call.body is not None:
            from . import workers_ai_whole  # noqa: PLC0415 - only batches make such calls

            return workers_ai_whole.reply(result, tokens)
        if isinstance(result, Mapping) and "choices" not in result:
            return _without_thoughts(_text_reply(result, tokens, formed=formed), formed=formed)
        return _without_thoughts(replies.chat_reply(result, formed=formed), formed=formed)
    except ModelReplyMalformed as error:
        raise _unusable(error, result, call) from None


def _unusable(error: ModelReplyMalformed, result: object, call: ModelCall) -> ModelReplyMalformed:
    """Add to an error the beginning of the binding's result, which has no HTTP status and no content type."""
    try:
        body = replies.as_json(result)
    except ModelReplyMalformed:
        body = ""
    made = replies.unusable(error, "from Workers AI", body, client_texts=asking.client_texts(call))
    made.tokens = replies.tokens_of(result)
    return made


def _text_reply(result: Mapping[str, object], tokens_most: object, *, formed: bool) -> ModelReply:
    """Read a reply of the older shape. Without a finish reason, `tokens_most` tokens count as cut off."""
    reason = result.get("finish_reason")
    if reason is None and replies.member(result.get("usage"), "completion_tokens") == tokens_most:
        reason = "length"
    return replies.text_reply(result.get("response"), result, reason, formed=formed)


def _without_thoughts(reply: ModelReply, *, formed: bool) -> ModelReply:
    """Remove the reasoning that comes before a model's answer. Raises ModelReplyMalformed if the reply has no answer.

    If the call asked for JSON (`formed`), reasoning alone is kept as the output, which then does not fit the schema.
    """
    thoughts = _THOUGHTS.match(reply.output)
    if thoughts is None:
        return reply
    output = reply.output[thoughts.end() :]
    if output:
        return reply._replace(output=output)
    if formed:
        return reply
    raise ModelReplyMalformed("the reply has thoughts but no text: maxOutputTokens may be too small")


def _code(said: str) -> int | None:
    found = _CODE.match(said)
    return int(found[1]) if found else None


def _failure(said: str, call: ModelCall, delay: float | None) -> ModelError:
    code = _code(said)
    words = said
    if call.body is not None and code not in _QUOTA_CODES and not _is_refusal(code, said):
        from .whole_answers import passing_words  # noqa: PLC0415 - only batches make such calls

        words = passing_words(said, call.body) or str(code or "")
    texts = asking.client_texts(call) if words == said else ()
    detail = replies.cause(words, client_texts=texts)
    message = f"Workers AI: {detail}" if detail else "Workers AI gave no reason"
    if code not in _TRANSIENT_CODES and (about := asking.form_failure(call, said, message)) is not None:
        return about
    if code in _QUOTA_CODES:
        return replies.spent(message, delay) if code in replies.SPENT_CODES else ModelDayUsedUp(message)
    if code in _RATE_LIMIT_CODES:
        return ModelRateLimited(message)
    if code in _MALFORMED_CODES:
        return ModelReplyMalformed(message)
    if code is None and "network connection lost" in said.lower():
        return ModelConnectionLost(message)
    return _refusal(message, said, code, call) if _is_refusal(code, said) else ModelUnavailable(message)


def _refusal(message: str, said: str, code: int | None, call: ModelCall) -> ModelRefused:
    too_long = _TOO_LONG.search(said) is not None
    if call.body is None:
        return ModelRefused(message, of_call=too_long)
    from . import workers_ai_whole  # noqa: PLC0415 - only batches make such calls

    return workers_ai_whole.refusal(message, said, code, too_long=too_long)


def _is_refusal(code: int | None, said: str) -> bool:
    """Whether the same call would be refused again.

    A code that is not listed is judged by its thousands digit and the error's text. Any error that is not a refusal
    counts as temporary: the call is made again, with at most MAX_ATTEMPTS attempts.
    """
    if code in _TRANSIENT_CODES:
        return False
    if code in _REFUSAL_CODES or _TOO_LONG.search(said):
        return True
    return code is not None and (code // 1000 in _REFUSAL_THOUSANDS or _AT_FAULT.search(said) is not None)
