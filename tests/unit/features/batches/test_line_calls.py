"""Calls for a batch's lines: the provider gets the line's body unchanged, and answers and refusals come back whole."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from src.features.batches.lines.answers import output_line
from src.features.batches.lines.lines import CHAT, Line
from src.features.demo.demo import DemoProvider
from src.kernel.calls import replies
from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import HttpReply, ModelCall, ModelReply, Provider
from src.kernel.calls.workers_ai import OUTPUT_TOKENS, WorkersAIProvider
from src.kernel.domain import errors, limits
from src.kernel.domain.ids import TaskKey
from tests.unit.kernel.calls.test_openai import KEY, ScriptedHttp, reply
from tests.unit.kernel.calls.test_workers_ai import ScriptedAi

TASK = TaskKey("acme:019a0000-0000-7000-8000-000000000000")
MESSAGES = [{"role": "user", "content": "Call me Ishmael. Some years ago, never mind 多久以前."}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}
WHOLE = {
    "id": "chatcmpl-7",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "m-1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "fine 多", "tool_calls": [{"id": "c"}]}},
        {"index": 1, "message": {"role": "assistant", "content": "more"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9, "cost": 0.25},
    "vendor": {"cached": [1, None, True]},
}


def call(*, model: str = "m-1", max_output_tokens: int | None = None, **body: object) -> ModelCall:
    return ModelCall("", "", model, max_output_tokens, body={"messages": MESSAGES, **body})


def at_openai(answer: object, made: ModelCall, base_url: str = "http://m/v1", status: int = 200) -> tuple[Any, Any]:
    http = ScriptedHttp(answer if isinstance(answer, HttpReply) else reply(status, answer))
    provider = OpenAIProvider(http, base_url=base_url, api_key=KEY, model=None)
    outcome = outcome_of(provider, made)
    return json.loads(http.requests[0][3] or ""), outcome


def at_workers_ai(answer: object, made: ModelCall) -> tuple[Any, Any]:
    ai = ScriptedAi(answer)
    outcome = outcome_of(WorkersAIProvider(ai, model=None, timeout_seconds=5), made)
    return ai.calls[0][1], outcome


def outcome_of(provider: Provider, made: ModelCall) -> ModelReply | errors.ModelError:
    try:
        return asyncio.run(provider.infer(made))
    except errors.ModelError as error:
        return error


def refused(outcome: object) -> tuple[int, Any]:
    assert isinstance(outcome, errors.ModelRefused), outcome
    assert outcome.answer is not None
    return outcome.answer


def test_a_body_goes_to_the_server_as_it_is() -> None:
    body: dict[str, Any] = {"temperature": 0.5, "response_format": FORM, "top_k": 3, "stop": ["x"]}
    sent, outcome = at_openai(WHOLE, call(**body))
    assert sent == {"model": "m-1", "messages": MESSAGES, **body}
    assert outcome == ModelReply("", 7, 2, None, answer=WHOLE)


@pytest.mark.parametrize(
    ("base_url", "spelling"),
    [("https://api.openai.com/v1", "max_completion_tokens"), ("http://127.0.0.1:11434/v1", "max_tokens")],
)
def test_the_limit_of_tokens_has_the_servers_name(base_url: str, spelling: str) -> None:
    for made, limit in (
        (call(max_completion_tokens=9), 9),
        (call(max_output_tokens=700), 700),
        (call(max_completion_tokens=9, max_output_tokens=700), 9),
    ):
        sent, _ = at_openai(WHOLE, made, base_url)
        assert sent == {"model": "m-1", "messages": MESSAGES, spelling: limit}


@pytest.mark.parametrize("content", ["", None, [{"type": "text", "text": "a"}]])
def test_an_answer_without_text_is_an_answer(content: object) -> None:
    """An answer that has only tool calls, or that was cut off before its first word, comes back whole."""
    document = {"choices": [{"message": {"content": content}, "finish_reason": "length"}]}
    _, outcome = at_openai(document, call())
    assert outcome == ModelReply("", 0, 0, "length", answer=document)


def test_an_answer_that_no_line_can_hold_is_malformed() -> None:
    """An answer must fit a line of the output file, which is ASCII: there a Chinese character takes six bytes."""
    for size, is_fine in ((limits.ANSWER_CHARS_MOST // 6 - 100, True), (limits.ANSWER_CHARS_MOST // 6 + 100, False)):
        document = {"choices": [{"message": {"content": "多" * size}}]}
        raw = json.dumps(document, ensure_ascii=False).encode()
        outcome = at_openai(HttpReply(200, {}, raw), call())[1]
        assert isinstance(outcome, ModelReply if is_fine else errors.ModelReplyMalformed)


def test_an_answer_of_many_choices_is_malformed() -> None:
    """An answer may have a limited number of choices, since the fields that a choice lacks make its line longer."""
    for count, is_fine in ((limits.ANSWER_CHOICES_MOST, True), (limits.ANSWER_CHOICES_MOST + 1, False)):
        text = "x" * (limits.ANSWER_CHARS_MOST - 20 * count - 100)
        document = {"choices": [{"message": {"content": text}}, *({"message": {}} for _ in range(count - 1))]}
        outcome = at_openai(document, call())[1]
        assert isinstance(outcome, ModelReply if is_fine else errors.ModelReplyMalformed)
        if isinstance(outcome, ModelReply) and outcome.answer is not None:
            line = Line("x" * limits.CUSTOM_ID_CHARS_MOST, "m-1", {}, {})
            assert len(output_line(TASK, 0, CHAT, line, outcome.answer, 0)) <= limits.OUTPUT_LINE_CHARS_MOST


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refusal_comes_back_whole(status: int) -> None:
    """A refusal has the server's status and body, even the client's text in it; the error's message omits this text."""
    body = {"error": {"message": f"bad: {MESSAGES[0]['content']}", "code": "x", "param": None}, "more": [1]}
    outcome = at_openai(body, call(), status=status)[1]
    assert refused(outcome) == (status, body)
    assert "Ishmael" not in str(outcome)
    assert outcome.of_call is (status != 404)


def test_the_key_is_struck_out_of_a_refusal() -> None:
    """If a server repeats the API key, or a part of it, anywhere in its answer, clients do not see the key."""
    body = {"error": {"message": f"bad key {KEY}", "param": KEY[3:12], KEY: [KEY[-8:]], "code": KEY[:5]}}
    outcome = at_openai(body, call(), status=401)[1]
    status, found = refused(outcome)
    assert status == 401
    shown = json.dumps(found, ensure_ascii=False)
    assert not any(KEY[at : at + 6] in shown for at in range(len(KEY) - 5))
    assert found["error"]["message"] == "bad key …"
    assert found["error"]["code"] == KEY[:5]  # five characters are chance
    assert outcome.of_call is False


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>\n<h1>Bad   request</h1></html>",
        b"[1]",
        b'"no"',
        b"",
        b"\xff\xfe",
        json.dumps({"error": "x" * limits.REFUSAL_CHARS_MOST}).encode(),
        json.dumps({"error": "x" * limits.REFUSAL_READ_BYTES_MOST}).encode(),
        b"[" * 70_000,
    ],
)
def test_a_refusal_is_an_object_of_limited_size(raw: bytes) -> None:
    status, body = refused(at_openai(HttpReply(400, {}, raw), call())[1])
    assert (status, body.keys(), body["error"]["type"]) == (400, {"error"}, "invalid_request_error")
    most = limits.REFUSAL_MESSAGE_CHARS_MOST
    assert len(body["error"]["message"]) <= most
    if raw.startswith(b"<html>"):
        assert body["error"]["message"] == "<html> <h1>Bad request</h1></html>"
    assert body["error"]["message"].endswith("[cut off]") is (len(raw) > most)


@pytest.mark.parametrize("text", ["x", "多", "\U0001f600"])
def test_a_large_refusal_keeps_its_message_and_code(text: str) -> None:
    """A refusal is kept whole up to 2 KB of JSON in ASCII, as the error file has it; of a larger one, what it says."""
    for chars, is_whole in ((150, True), (limits.REFUSAL_CHARS_MOST, False)):
        given = {"error": {"message": "too long", "code": "too_big", "type": "t"}, "detail": text * chars}
        _, body = refused(at_openai(given, call(), status=422)[1])
        if is_whole:
            assert body == given
        else:
            assert body["error"] == {
                "message": "too long … [cut off]", "type": "invalid_request_error", "param": None, "code": "too_big"
            }  # fmt: skip
    long = {"error": {"message": text * limits.REFUSAL_CHARS_MOST, "code": 7}}
    _, body = refused(at_openai(long, call(), status=422)[1])
    assert len(body["error"]["message"]) == limits.REFUSAL_MESSAGE_CHARS_MOST
    assert body["error"]["message"].endswith(" … [cut off]")
    assert body["error"]["code"] is None


def test_a_redirect_is_no_answer_for_a_client() -> None:
    outcome = at_openai({}, call(), status=302)[1]
    assert isinstance(outcome, errors.ModelRefused)
    assert (outcome.answer, outcome.of_call) == (None, False)


def test_a_message_repeats_no_text_of_a_line() -> None:
    schema = {"type": "object", "properties": {"patient_diagnosis": {"enum": ["secret-enum-value"]}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    parts = [{"type": "text", "text": "line one\nline two of a letter"}]
    made = ModelCall("", "", "m", body={"messages": [{"role": "user", "content": parts}], "response_format": form})
    said = "no patient_diagnosis, secret-enum-value, line one line two of a letter: response_format refused"
    outcome = at_openai({"error": {"message": said}}, made, status=400)[1]
    assert str(outcome) == "the provider answered 400: no …, …, …: response_format refused"


@pytest.mark.parametrize("status", [429, 503, 408, 400])
@pytest.mark.parametrize("chars", [1_000, 900_000])
def test_a_passing_failure_of_a_long_line_is_not_searched(
    monkeypatch: pytest.MonkeyPatch, status: int, chars: int
) -> None:
    """0.1 s in 1 MB is too long for a call that may fail often; a refused line's message is searched."""
    searched: list[int] = []
    search = replies.cause

    def cause(text: str, *, key: str | None = None, client_texts: Iterable[str] = ()) -> str:
        texts = list(client_texts)
        searched.append(sum(map(len, texts)))
        return search(text, key=key, client_texts=texts)

    monkeypatch.setattr(replies, "cause", cause)
    text = "word " * (chars // 10)
    made = ModelCall("", "", "m", body={"messages": [{"role": "user", "content": text}, {"content": text}]})
    outcome = at_openai({"error": {"message": "Limit 200000, in word word word word"}}, made, status=status)[1]
    is_searched = status == 400 or chars == 1_000
    assert str(outcome) == f"the provider answered {status}" + (": Limit 200000, in…" if is_searched else "")
    assert (searched[0] > 0) is is_searched
    passing = at_workers_ai(RuntimeError("InferenceUpstreamError: 3040: Capacity of word word word word"), made)[1]
    assert str(passing) == "Workers AI: " + ("InferenceUpstreamError: 3040: Capacity of…" if chars == 1_000 else "3040")
    assert isinstance(passing, errors.ModelUnavailable)


def test_workers_ai_gets_a_body_as_it_takes_it() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    image = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "user", "content": parts}, {"role": "user", "content": image}, {"role": "user", "content": []}]
    made = ModelCall("", "", "m", body={"messages": messages, "response_format": FORM, "seed": 1})
    sent, _ = at_workers_ai({"response": "fine"}, made)
    assert sent == {
        "messages": [{"role": "user", "content": "ab"}, *messages[1:]],
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
        "seed": 1,
        "max_tokens": OUTPUT_TOKENS,
    }
    for made, limit in ((call(max_completion_tokens=9), 9), (call(max_output_tokens=70), 70)):
        assert at_workers_ai({"response": "fine"}, made)[0]["max_tokens"] == limit


def only_choice(answer: object) -> dict[str, Any]:
    outcome = at_workers_ai(answer, call(max_completion_tokens=9))[1]
    assert isinstance(outcome, ModelReply), outcome
    assert outcome.answer is not None
    text = output_line(TASK, 0, CHAT, Line("r", "m", {}, {}), outcome.answer, 1_790_000_000_000)
    [choice] = ChatCompletion.model_validate(json.loads(text)["response"]["body"]).choices
    return choice.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("result", "content", "reason"),
    [
        ({"response": "fine"}, "fine", "stop"),
        ({"response": {"name": "多"}}, '{"name": "多"}', "stop"),
        (
            {"response": "cut", "usage": {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}},
            "cut",
            "length",
        ),
        ({"response": "x", "finish_reason": "length"}, "x", "length"),
        ({"response": "half \ud800"}, "half \ufffd", "stop"),
        ({"choices": [{"message": {"content": "new"}, "finish_reason": "stop"}]}, "new", "stop"),
    ],
)
def test_results_of_both_shapes(result: object, content: str, reason: str) -> None:
    choice = only_choice(result)
    assert (choice["message"]["content"], choice["finish_reason"]) == (content, reason)


@pytest.mark.parametrize(
    ("given", "written"), [({"a": 1}, '{"a": 1}'), ('{"a": "多"}', '{"a": "多"}'), ("", ""), (None, "{}"), ({}, "{}")]
)
def test_tool_calls_of_the_older_shape(given: object, written: str) -> None:
    choice = only_choice({"response": None, "tool_calls": [{"name": "f", "arguments": given}]})
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": written}}
    ]


@pytest.mark.parametrize(
    ("said", "content", "thoughts"),
    [
        ("<think>hm\n</think>\n\nfine", "fine", "hm"),
        ("\n<think></think>fine", "fine", ""),
        ("<think>only</think>", "<think>only</think>", None),
        ("fine <think>x</think>", "fine <think>x</think>", None),
    ],
)
def test_thoughts_have_a_field_of_their_own(said: str, content: str, thoughts: str | None) -> None:
    for result in ({"response": said}, {"choices": [{"message": {"content": said}}]}):
        message = only_choice(result)["message"]
        assert (message["content"], message.get("reasoning_content")) == (content, thoughts)


@pytest.mark.parametrize("result", [None, "x", [], {}, {"response": None}, {"response": 7}, {"choices": 7}])
def test_a_result_without_an_answer_is_malformed(result: object) -> None:
    assert type(at_workers_ai(result, call())[1]) is errors.ModelReplyMalformed


@pytest.mark.parametrize(
    ("code", "status", "of_call"),
    [
        (3003, 400, True), (3006, 413, True), (5004, 400, True), (5006, 400, True), (8001, 400, True),
        (3023, 403, False), (3042, 404, False), (5007, 404, False), (5018, 403, False), (5035, 403, False),
        (7003, 400, False),
    ],
)  # fmt: skip
def test_a_refusal_of_workers_ai(code: int, status: int, of_call: bool) -> None:
    outcome = at_workers_ai(RuntimeError(f"{code}: Call me Ishmael. Some years ago"), call())[1]
    found_status, body = refused(outcome)
    assert (found_status, body["error"]["code"], outcome.of_call) == (status, str(code), of_call)
    assert body["error"]["message"] == f"{code}: Call me Ishmael. Some years ago"
    assert "Ishmael" not in str(outcome)


def test_a_line_that_is_too_long_for_the_model() -> None:
    for said in ("5021: maximum context length", "This model's maximum context length is 8"):
        outcome = at_workers_ai(RuntimeError(said), call())[1]
        assert (refused(outcome)[0], outcome.of_call) == (413, True)


def at_demo(**body: object) -> ModelReply | errors.ModelError:
    return outcome_of(DemoProvider(), ModelCall("", "", "demo-1", body=body))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "Hi"},
        {"messages": [7, {}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": MESSAGES, "response_format": {"type": "json_schema"}},
        {"messages": MESSAGES, "response_format": {"type": "json_schema", "json_schema": {"schema": {"allOf": []}}}},
    ],
)
def test_the_demo_refuses_what_a_server_would(body: dict[str, object]) -> None:
    outcome = at_demo(**body)
    status, document = refused(outcome)
    assert (status, document["error"]["type"]) == (400, "invalid_request_error")
    assert isinstance(outcome, errors.ModelRefused)
    assert outcome.of_call


def test_tool_calls_in_openais_shape_stay() -> None:
    made = {"id": "chatcmpl-tool-1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert only_choice({"response": None, "tool_calls": [made]})["message"]["tool_calls"] == [made]


@pytest.mark.parametrize("document", [{}, [], "x", {"choices": []}, {"choices": [{"message": "x"}]}, {"choices": [7]}])
def test_an_answer_without_a_message_is_malformed(document: object) -> None:
    """If a server's answer is no chat completion, the call for the line is tried again, as any other call."""
    assert type(at_openai(document, call())[1]) is errors.ModelReplyMalformed
