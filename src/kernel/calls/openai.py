"""Calls an OpenAI-compatible server, `POST {base_url}/chat/completions`; statuses as at OpenAI and RFC 9110."""

import json
import re
from collections.abc import Mapping

from ..domain import limits
from ..domain.errors import (
    ModelConnectionLost,
    ModelError,
    ModelMisconfigured,
    ModelRateLimited,
    ModelRefused,
    ModelReplyMalformed,
    ModelUnavailable,
)
from ..domain.settings import is_gateway, is_openais_own
from . import asking, replies
from .pace import retry_after_seconds
from .protocol import (
    Health,
    HttpClient,
    HttpConnectionLost,
    HttpError,
    HttpReply,
    HttpReplyTooLarge,
    HttpTimeout,
    ModelCall,
    ModelReply,
)

DEFAULT_MODEL = "gpt-5.4-mini"
PROBE_TIMEOUT_SECONDS = 5.0
PROBE_BYTES_MOST = 4 * limits.REPLY_BYTES_MOST  # gateways of several providers list hundreds of models

_KIND_CHARS_MOST = 60
_BEGINNING_BYTES = 10_000  # how much of a reply without usable output is decoded, to show its beginning
_TRANSIENT_4XX = frozenset({408, 409, 425})
# HTTP statuses that blame the request, and not the API key, the model or the address.
_AT_FAULT = frozenset({400, 413, 422})
_UNAUTHORIZED = frozenset({401, 403})
_UNKNOWN_MODEL = "model_not_found"
# Codes with which OpenAI answers 429 if the account's quota is used up. Other servers answer 402.
_SPENT_CODES = frozenset(map(str, replies.SPENT_CODES))
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"}) | _SPENT_CODES
# OpenAI's current models, even behind a gateway, refuse the field `max_tokens` and accept `max_completion_tokens`.
# Other servers accept `max_tokens`, and some of them ignore `max_completion_tokens`
# (docs/decisions/calls.md#d0023).
_OPENAI_MODEL = re.compile(r"(?:openai/)?(?:gpt-(?:[5-9]|[1-9][0-9])|o[1-9])(?:\Z|[-.])", re.IGNORECASE)


class OpenAIProvider:
    """Calls an OpenAI-compatible server through the HTTP client `http`. `base_url` ends with `/v1`."""

    name = "openai"

    def __init__(self, http: HttpClient, *, base_url: str, api_key: str | None, model: str | None) -> None:
        self.default_model = model or DEFAULT_MODEL
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._at_openai = is_openais_own(base_url)
        self._at_gateway = is_gateway(base_url)
        self._api_key = api_key

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call once. Raises a `ModelError` that names the cause, without client text or API key.

        A gateway's cache would repeat an unusable answer, so the call is then sent past the cache.
        """
        headers = {**self._headers(), "content-type": "application/json"}
        if self._at_gateway:  # its own retries would be calls that no ledger has
            headers |= {"cf-aig-max-attempts": "1", "cf-aig-metadata": json.dumps(asking.metadata(call))}
        reply = await self._post(call, headers)
        if replies.is_from_cache(reply.headers):
            try:
                return self._read(reply, call)._replace(from_cache=True)
            except ModelReplyMalformed:
                reply = await self._post(call, {**headers, "cf-aig-skip-cache": "true"})
        return self._read(reply, call)

    async def _post(self, call: ModelCall, headers: Mapping[str, str]) -> HttpReply:
        try:
            return await self._http.request(
                "POST",
                f"{self._base_url}/chat/completions",
                headers=headers,
                body=json.dumps(self._body(call), ensure_ascii=False),
                timeout_seconds=None,
                max_reply_bytes=limits.REPLY_BYTES_MOST,
            )
        except HttpReplyTooLarge:
            failure = ModelReplyMalformed(f"the reply exceeds {limits.REPLY_BYTES_MOST} bytes")
            failure.tokens = 0, 0, 0
            raise failure from None
        except HttpConnectionLost:
            raise ModelConnectionLost("the connection to the provider was refused or lost") from None
        except HttpError:
            raise ModelConnectionLost("the provider's reply was incomplete") from None

    def _read(self, reply: HttpReply, call: ModelCall) -> ModelReply:
        if not 200 <= reply.status < 300:
            raise self._failure(reply, call)
        document = None
        try:
            document = replies.parse(reply.body)
            if call.body is not None:
                from .whole_answers import line_reply  # noqa: PLC0415 - only batches make such calls

                return line_reply(document, len(reply.body))
            return replies.chat_reply(document, formed=call.form is not None)
        except ModelReplyMalformed as error:
            error.delay_seconds = retry_after_seconds(reply.headers)
            unusable = self._unusable(error, reply, call)
            unusable.tokens = replies.tokens_of(document)
            raise unusable from None

    def _body(self, call: ModelCall) -> dict[str, object]:
        new_spelling = self._at_openai or _OPENAI_MODEL.match(call.model)
        tokens_name = "max_completion_tokens" if new_spelling else "max_tokens"
        if call.body is not None:
            from .whole_answers import sent_fields  # noqa: PLC0415 - only batches make such calls

            return {"model": call.model, **sent_fields(call, tokens_name)}
        fields = {**asking.fields(call, tokens_name), **asking.response_format(call.form)}
        return {"model": call.model, "messages": asking.messages(call), **fields}

    async def probe(self) -> Health:
        """Check the server by requesting its list of models, which costs nothing."""
        try:
            reply = await self._http.request(
                "GET",
                f"{self._base_url}/models",
                headers=self._headers(),
                body=None,
                timeout_seconds=PROBE_TIMEOUT_SECONDS,
                max_reply_bytes=PROBE_BYTES_MOST,
            )
        except HttpTimeout:
            return Health("unavailable", f"the server did not answer within {PROBE_TIMEOUT_SECONDS:g} s")
        except HttpReplyTooLarge:
            return Health("degraded", "the server's list of models is too long to read")
        except HttpError:
            return Health("unavailable", "the connection to the server was refused or lost")
        return health_of(reply, self.default_model, has_key=self._api_key is not None)

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if self._api_key is not None:
            headers["authorization"] = f"Bearer {self._api_key}"
        return headers

    def _unusable(self, error: ModelReplyMalformed, reply: HttpReply, call: ModelCall) -> ModelReplyMalformed:
        kind = replies.one_line(reply.headers.get("content-type", "")[:_KIND_CHARS_MOST])
        body, texts = reply.body[:_BEGINNING_BYTES].decode("utf-8", "replace"), asking.client_texts(call)
        came = f"{reply.status}, {kind or 'without content-type'}"
        return replies.unusable(error, came, body, key=self._api_key, client_texts=texts)

    def _failure(self, reply: HttpReply, call: ModelCall) -> ModelError:
        said, codes = replies.error_of(reply.body)
        if call.body is not None and _passes(reply.status) and not codes & _QUOTA_CODES:
            from .whole_answers import passing_words  # noqa: PLC0415 - only batches make such calls

            said = passing_words(said, call.body)
        texts = asking.client_texts(call) if said else ()
        detail = replies.cause(said, key=self._api_key, client_texts=texts)
        message = f"the provider answered {reply.status}{': ' if detail else ''}{detail}"
        if reply.status in asking.FORM_STATUSES and not codes & _QUOTA_CODES:
            about = asking.form_failure(call, reply.body.decode("utf-8", "replace"), message)
            if about is not None:
                return about
        error = self._of_status(reply, codes, message, call.model)
        if call.body is not None and reply.status >= 400:
            from .whole_answers import with_refusal  # noqa: PLC0415 - only batches make such calls

            return with_refusal(error, reply.status, reply.body, self._api_key)
        return error

    def _of_status(self, reply: HttpReply, codes: frozenset[str], message: str, model: str) -> ModelError:
        status = reply.status
        if status == 402 or (400 <= status < 500 and codes & _QUOTA_CODES):
            delay = retry_after_seconds(reply.headers, limits.RESET_SECONDS_MOST)
            return replies.spent(message, delay if codes & _SPENT_CODES else None)
        if status == 429:
            return ModelRateLimited(message, retry_after_seconds(reply.headers))
        if _passes(status):
            return ModelUnavailable(message, retry_after_seconds(reply.headers))
        if 300 <= status < 400:
            # A followed redirect would send the API key to a host that is not configured.
            said = f"the provider answered {status}, a redirect: AI_BASE_URL must be the final address"
            return ModelMisconfigured(said)
        if 400 <= status < 500:
            is_unknown = model == self.default_model and (status == 404 or _UNKNOWN_MODEL in codes)
            is_ours = status in _UNAUTHORIZED or is_unknown
            return ModelMisconfigured(message) if is_ours else ModelRefused(message, of_call=status in _AT_FAULT)
        return ModelReplyMalformed(message, retry_after_seconds(reply.headers))


def _passes(status: int) -> bool:
    """Whether the HTTP status of an answer says that the same call may succeed later."""
    return status == 429 or status in _TRANSIENT_4XX or status >= 500


def health_of(reply: HttpReply, model: str, *, has_key: bool) -> Health:
    """Judge the answer to `GET {AI_BASE_URL}/models`. The `detail` names the variable to check, if there is one."""
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
