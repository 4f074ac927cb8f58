"""The provider for OpenAI-compatible servers, against a scripted network."""

import asyncio
import json
import unicodedata
from collections.abc import Mapping
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.kernel.calls import replies
from src.kernel.calls.openai import DEFAULT_MODEL, OpenAIProvider
from src.kernel.calls.pace import retry_after_seconds
from src.kernel.calls.protocol import (
    HttpConnectionLost,
    HttpError,
    HttpReply,
    HttpReplyTooLarge,
    HttpTimeout,
    ModelCall,
    ModelReply,
)
from src.kernel.domain import errors, limits

KEY = "sk-test-0123456789abcdef"
CALL = ModelCall(system="Summarise the part.", user="Call me Ishmael. Some years ago—never mind 多久以前.", model="m-1")


class ScriptedHttp:
    def __init__(self, answer: HttpReply | BaseException) -> None:
        self.answer = answer
        self.requests: list[tuple[str, str, dict[str, str], str | None, float | None, int]] = []

    async def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | None,
        timeout_seconds: float | None,
        max_reply_bytes: int,
    ) -> HttpReply:
        self.requests.append((method, url, dict(headers), body, timeout_seconds, max_reply_bytes))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def provider(
    answer: HttpReply | BaseException, *, key: str | None = KEY, model: str | None = None
) -> tuple[OpenAIProvider, ScriptedHttp]:
    http = ScriptedHttp(answer)
    made = OpenAIProvider(http, base_url="http://model.test/v1", api_key=key, model=model)
    return made, http


def infer(answer: HttpReply | BaseException, call: ModelCall = CALL) -> ModelReply:
    return asyncio.run(provider(answer)[0].infer(call))


def reply(status: int, document: object, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpReply(status, named, body)


def completion(content: object, usage: object = None) -> dict[str, object]:
    return {"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}


def failure(answer: HttpReply | BaseException, call: ModelCall = CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        infer(answer, call)
    return caught.value


def test_a_call_is_one_request_with_the_text_verbatim() -> None:
    made, http = provider(reply(200, completion("fine", {"prompt_tokens": 7, "completion_tokens": 2})))
    assert asyncio.run(made.infer(CALL)) == ModelReply("fine", 7, 2)
    [(method, url, headers, body, timeout, most)] = http.requests
    assert (method, url) == ("POST", "http://model.test/v1/chat/completions")
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert body is not None
    assert json.loads(body) == {
        "model": "m-1",
        "messages": [{"role": "system", "content": CALL.system}, {"role": "user", "content": CALL.user}],
    }
    assert (timeout, most) == (None, limits.REPLY_BYTES_MOST)


@pytest.mark.parametrize(
    ("base_url", "model", "spelling"),
    [
        ("https://api.openai.com/v1", "gpt-4o", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "any", "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1", "any", "max_completion_tokens"),
        ("https://gateway.example/v1", "gpt-5.4-mini", "max_completion_tokens"),
        ("https://gateway.example/v1", "openai/gpt-10", "max_completion_tokens"),
        ("https://gateway.example/v1", "o4-mini", "max_completion_tokens"),
        ("https://gateway.example/v1", "o1", "max_completion_tokens"),
        ("http://127.0.0.1:11434/v1", "llama3.2", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "openai/gpt-oss-20b", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "gpt-4o", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "olmo-2", "max_tokens"),
        ("https://openai.com.example/v1", "x", "max_tokens"),
        ("https://notopenai.com/v1", "x", "max_tokens"),
    ],
)
def test_what_a_call_asks_is_sent_in_the_servers_spelling(base_url: str, model: str, spelling: str) -> None:
    http = ScriptedHttp(reply(200, completion("fine")))
    made = OpenAIProvider(http, base_url=base_url, api_key=None, model=None)
    call = ModelCall("a", "b", model, max_output_tokens=9, temperature=0.0, options={"top_p": 0.5, "stop": ["x"]})
    asyncio.run(made.infer(call))
    body = json.loads(http.requests[0][3] or b"")
    assert body.keys() == {"model", "messages", "temperature", "top_p", "stop", spelling}
    assert (body[spelling], body["temperature"], body["top_p"], body["stop"]) == (9, 0, 0.5, ["x"])


def ended(reason: object, content: object = "fine") -> HttpReply:
    return reply(200, {"choices": [{"message": {"content": content}, "finish_reason": reason}]})


@pytest.mark.parametrize(
    ("reason", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("model_length", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_calls", "tool_calls"),
        ("eos\n token", "eos token"),
        ("x" * 1_000, "x" * limits.FINISH_REASON_CHARS_MOST),
        ("\ud800", "\ufffd"),
        ("", None),
        (None, None),
        (7, None),
        (["stop"], None),
    ],
)
def test_why_an_output_ends(reason: object, read: str | None) -> None:
    assert infer(ended(reason)).finish_reason == read


def test_a_cut_before_the_first_word_names_the_cause() -> None:
    error = failure(ended("length", ""))
    assert isinstance(error, errors.ModelReplyMalformed)
    assert "maxOutputTokens" in str(error)
    assert "maxOutputTokens" not in str(failure(ended("stop", "")))


def test_without_a_key_no_authorization_is_sent() -> None:
    made, http = provider(reply(200, completion("fine")), key=None)
    asyncio.run(made.infer(CALL))
    assert "authorization" not in http.requests[0][2]


def test_the_default_model_can_be_overridden() -> None:
    http = ScriptedHttp(reply(200, {}))
    named = OpenAIProvider(http, base_url="http://x/v1/", api_key=None, model="llama")
    assert (named.name, named.default_model) == ("openai", "llama")
    assert provider(reply(200, {}))[0].default_model == DEFAULT_MODEL


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (rb'{"choices":[{"message":{"content":"a\u0000b"}}]}', "a\ufffdb"),
        (rb'{"choices":[{"message":{"content":"cut \ud83d"}}]}', "cut \ufffd"),
        (rb'{"choices":[{"message":{"content":"\ude00\ud83d\ude00\\ud800"}}]}', "\ufffd😀\\ud800"),
    ],
)
def test_what_the_database_cannot_hold_is_replaced(body: bytes, output: str) -> None:
    assert infer(reply(200, body)).output == output


BAD_CHOICES = (b"[]", b'{"0":1}', b"[null]", b'[{"message":null}]')
BAD_CONTENTS = (b"null", b'" \\n"', b"[]", b'"\xff"')


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"null", b"[]", b'"text"', b"{}", b"[" * 500_000, b'{"a":' * 100_000),
        *(b'{"choices":' + choices + b"}" for choices in BAD_CHOICES),
        *(b'{"choices":[{"message":{"content":' + content + b"}}]}" for content in BAD_CONTENTS),
        json.dumps(completion("x" * (limits.OUTPUT_CHARS_MOST + 1))).encode(),
    ],
)
def test_a_reply_without_usable_output_is_malformed(body: bytes) -> None:
    error = failure(HttpReply(200, {}, body))
    assert type(error) is errors.ModelReplyMalformed
    assert error.retryable


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            HttpReply(200, {"content-type": "text/html; charset=utf-8"}, b"<!doctype html>\n<title>Sign in</title>"),
            "the reply is not JSON (200, text/html; charset=utf-8): <!doctype html> <title>Sign in</title>",
        ),
        (HttpReply(200, {}, b" \n"), "the reply is not JSON (200, without content-type): nothing"),
        (
            HttpReply(203, {"content-type": "application/json"}, b'{"error":"no \\u6a21\\u578b \\"m-1\\""}'),
            'the reply has no message (203, application/json): {"error":"no 模型 "m-1""}',
        ),
        (HttpReply(200, {}, b"\xff" * 300), f"the reply is not JSON (200, without content-type): {'\ufffd' * 100}"),
    ],
)
def test_a_malformed_reply_says_what_came(answer: HttpReply, said: str) -> None:
    assert str(failure(answer)) == said


@pytest.mark.parametrize("escaped", [True, False])
def test_a_malformed_reply_shows_no_text_and_no_key(*, escaped: bool) -> None:
    echo = json.dumps({"you": CALL.user, "key": KEY}, ensure_ascii=escaped)
    said = str(failure(HttpReply(200, {"content-type": "application/json"}, echo.encode())))
    assert said == 'the reply has no message (200, application/json): {"you": "…", "key": "…"}'


STATUSES: list[tuple[int, type[errors.ModelError]]] = [
    *((status, errors.ModelMisconfigured) for status in (300, 301, 302, 307, 308, 401, 403)),
    *((status, errors.ModelRefused) for status in (400, 404, 405, 410, 413, 422, 451)),
    *((status, errors.ModelUnavailable) for status in (408, 409, 425, 500, 502, 503, 504, 520, 529)),
    (402, errors.ModelQuotaExhausted),
    (429, errors.ModelRateLimited),
    (199, errors.ModelReplyMalformed),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_statuses_have_their_error(status: int, kind: type[errors.ModelError]) -> None:
    error = failure(reply(status, {"error": {"message": "because"}}))
    assert type(error) is kind
    assert str(status) in str(error)
    assert "because" in str(error) or 300 <= status < 400
    assert (isinstance(error, errors.ModelRefused) and error.of_call) is (status in {400, 413, 422})


@pytest.mark.parametrize(("status", "code"), [(404, None), (404, "model_not_found"), (400, "model_not_found")])
def test_an_unknown_default_model_is_the_deployment_s_fault(status: int, code: str | None) -> None:
    """A model that the task itself names, and that the server does not know, is the client's fault."""
    answer = reply(status, {"error": {"message": "no such model", "code": code}})
    made, _ = provider(answer)
    error = failure(answer, CALL._replace(model=made.default_model))
    assert type(error) is errors.ModelMisconfigured
    assert type(failure(answer, CALL._replace(model="another"))) is errors.ModelRefused


@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_used_up_allowance_is_not_a_rate_limit(status: int) -> None:
    error = failure(reply(status, {"error": {"message": "pay", "code": "insufficient_quota"}}, retry_after="2"))
    assert type(error) is errors.ModelQuotaExhausted
    assert not error.retryable


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (HttpConnectionLost("x"), errors.ModelConnectionLost),
        (HttpReplyTooLarge("x"), errors.ModelReplyMalformed),
        (HttpError("x"), errors.ModelConnectionLost),
    ],
)
def test_the_network_has_its_errors(raised: HttpError, kind: type[errors.ModelError]) -> None:
    error = failure(raised)
    assert type(error) is kind
    assert error.retryable


def test_cancellation_passes_through() -> None:
    with pytest.raises(asyncio.CancelledError):
        infer(asyncio.CancelledError())


DATE = "Tue, 24 Nov 2026 14:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "99999999"}, limits.RATE_LIMIT_SECONDS_MOST),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Tue, 24 Nov 2026 14:00:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 13:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT", "date": DATE}, limits.RATE_LIMIT_SECONDS_MOST),
        ({"retry-after": "Tue, 24 Nov 2026 14:00:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds
    error = failure(HttpReply(429, headers, b""))
    assert isinstance(error, errors.ModelRateLimited)
    assert error.delay_seconds == seconds


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_retry_after_holds_with_each_status_that_is_tried_again(status: int) -> None:
    """A server may ask for a pause with any status after which the call is made again, not with 429 alone."""
    error = failure(HttpReply(status, {"retry-after": "121"}, b""))
    assert (error.retryable, error.delay_seconds) == (True, 121.0)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text()))
def test_no_retry_after_breaks_the_parser(headers: dict[str, str]) -> None:
    seconds = retry_after_seconds(headers)
    assert seconds is None or 0 <= seconds <= limits.RATE_LIMIT_SECONDS_MOST


@given(
    st.integers(100, 599),
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "usage", "prompt_tokens", "error", "code", "text", "type"]
                ),
                inner,
            )
        ),
    ).map(lambda document: json.dumps(document).encode()),
)
@example(200, b'{"choices":[{"message":{"content":"\\ud800"}}],"usage":{"prompt_tokens":1e400}}')
@example(400, b'{"error":{"message":"\\ud800\\u0000\\n"}}')
def test_any_reply_gives_output_or_a_model_error(status: int, body: bytes) -> None:
    try:
        got = infer(HttpReply(status, {}, body))
        shown, kept = "", got.output
    except errors.ModelError as error:
        shown, kept = str(error), ""
    assert len(shown) < 300
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert kept.encode() is not None
    assert "\x00" not in kept


def test_the_cause_holds_no_key_and_no_text() -> None:
    said = f"Bad key {KEY}; cut {KEY[:14]}; '{CALL.user}' and {CALL.user[5:30]!r}; told to {CALL.system}\n\x1b[31m"
    message = str(failure(reply(400, {"error": {"message": said}})))
    for hidden in (KEY, KEY[:14], "Ishmael. Some years", "多久以前", "Summarise the part"):
        assert hidden not in message
    assert "Bad key …" in message
    assert message.isprintable()


@given(st.text(min_size=12, max_size=300), st.text(max_size=50), st.text(max_size=50))
def test_no_stretch_of_the_text_survives_in_a_cause(text: str, before: str, after: str) -> None:
    kept = replies.cause(before + text + after, client_texts=[text])
    normal = " ".join(text.split())
    assert not any(normal[i : i + 12] in kept for i in range(len(normal) - 11) if normal[i : i + 12].isprintable())


@pytest.mark.parametrize(
    "document", [{"error": "because"}, {"message": "because"}, {"detail": "because"}, {"error": {"detail": "because"}}]
)
def test_other_shapes_of_error_body_are_read(document: object) -> None:
    assert str(failure(reply(400, document))) == "the provider answered 400: because"


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (reply(200, {}), "healthy", "answers"),
        (reply(401, {}), "unavailable", "refused the key"),
        (reply(403, {}), "unavailable", "refused the key"),
        (reply(404, {}), "degraded", "no models"),
        (reply(405, {}), "degraded", "no models"),
        (reply(302, {}), "unavailable", "AI_BASE_URL"),
        (reply(429, {}), "degraded", "429"),
        (reply(500, {}), "degraded", "500"),
        (HttpTimeout("x"), "unavailable", "5 s"),
        (HttpConnectionLost("x"), "unavailable", "lost"),
        (HttpReplyTooLarge("x"), "degraded", "too long"),
    ],
)
def test_a_probe_asks_for_the_models(answer: HttpReply | HttpError, status: str, says: str) -> None:
    made, http = provider(answer)
    health = asyncio.run(made.probe())
    assert health.status == status
    assert says in health.detail
    [(method, url, headers, body, timeout, _)] = http.requests
    assert (method, url, body, timeout) == ("GET", "http://model.test/v1/models", None, 5.0)
    assert headers["authorization"] == f"Bearer {KEY}"


def listing(*models: dict[str, object]) -> HttpReply:
    return reply(200, {"object": "list", "data": list(models)})


@pytest.mark.parametrize(
    ("answer", "is_there"),
    [
        (listing({"id": "test-model"}, {"id": "other"}), True),
        (listing({"id": "other"}), False),
        (listing({"id": "test-model:latest"}), True),  # Ollama
        (listing({"id": "test-model:1b"}), False),
        (listing({"id": "models/test-model"}), True),  # Gemini lists its models in this form.
        # The server llama.cpp lists its only model under any name.
        (listing({"id": "/models/a.gguf", "owned_by": "llamacpp"}), True),
        # The server llama-cpp-python also lists its only model under any name.
        (listing({"id": "/models/a.gguf", "owned_by": "me"}), True),
        (listing({"id": "a", "owned_by": "me"}, {"id": "b", "owned_by": "me"}), False),
        (listing(), True),  # an empty list does not say which models the server has
        (reply(200, {"data": "none"}), True),
        (reply(200, ["other"]), True),
        (listing({"id": 7}), False),
        (reply(200, b"no JSON"), True),
    ],
)
def test_a_probe_looks_for_the_model(answer: HttpReply, is_there: bool) -> None:
    made, _ = provider(answer, model="test-model")
    health = asyncio.run(made.probe())
    assert health.status == ("healthy" if is_there else "degraded")
    assert ("does not list the model test-model: check AI_MODEL" in health.detail) is not is_there


@pytest.mark.parametrize("junk", [True, -1, 1.5, "7", None, [], 10**30])
def test_senseless_counts_are_zero(junk: object) -> None:
    body = completion("fine", {"prompt_tokens": junk, "completion_tokens": 3})
    assert infer(reply(200, body)) == ModelReply("fine", 0, 3)


@pytest.mark.parametrize("content", [None, ""])
def test_what_a_filter_kept_back_is_an_empty_output(content: object) -> None:
    assert infer(ended("content_filter", content)) == ModelReply("", 0, 0, "content_filter")


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image", "text": "x"}, 7, {"type": "text", "text": "b"}]
    assert infer(reply(200, completion(parts))).output == "ab"


def test_the_longest_output_is_accepted() -> None:
    text = "x" * limits.OUTPUT_CHARS_MOST
    assert infer(reply(200, completion(text))).output == text


def test_a_refusal_repeats_no_option() -> None:
    call = ModelCall("a", "b", "m", options={"stop": ["a secret word of mine"], "presence_penalty": 1})
    said = "presence_penalty with stop 'a secret word of mine' is not supported"
    error = failure(reply(400, {"error": {"message": said}}), call)
    assert str(error) == "the provider answered 400: presence_penalty with stop '…' is not supported"


def test_a_probe_without_a_key_says_that_one_is_wanted() -> None:
    assert "AI_API_KEY" in asyncio.run(provider(reply(401, {}), key=None)[0].probe()).detail
