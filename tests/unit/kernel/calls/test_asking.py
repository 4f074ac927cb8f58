"""The form of an output: what a call asks and is asked again, as each server has it, and what servers refuse.

The requests and answers have the shapes that each server's sources give:

- OpenAI: the request and the refusal as in the types of OpenAI's Python SDK, which OpenAI generates from its OpenAPI
  document (`types/shared_params/response_format_json_schema.py`, `types/chat/chat_completion_message.py` of
  `openai` 3.57.0). OpenAI's errors are those that users report, for example in issue 31490 of langchain-ai/langchain.
  No request or answer in this module is taken from OpenAI's guide "Structured model outputs".
- vLLM: the page "Structured Outputs". vLLM's errors are those of `backend_xgrammar.py` in its source, or of users'
  reports.
- Ollama: the pages "Structured outputs" and "OpenAI compatibility". Ollama's errors are those of `llm/server.go`.
- llama-cpp-python: `llama_types.py` and `server/errors.py` in its source.
- llama.cpp: the page "LLaMA.cpp HTTP Server". The answers and errors of llama.cpp were recorded from `make model`.
- Cloudflare Workers AI: the pages "JSON Mode" and "Errors".
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from src.kernel.calls import asking
from src.kernel.calls.openai import OpenAIProvider
from src.kernel.calls.protocol import HttpReply, ModelCall, ModelReply, OutputForm
from src.kernel.calls.workers_ai import OUTPUT_TOKENS, WorkersAIProvider
from src.kernel.domain import errors, limits
from src.kernel.domain.settings import Sending
from src.kernel.domain.structure import Rejection
from tests.unit.kernel.calls.test_openai import ScriptedHttp
from tests.unit.kernel.calls.test_workers_ai import ScriptedAi

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": {"type": "string", "description": "人名"}}},
    "required": ["people"],
    "additionalProperties": False,
}
FORM = OutputForm(SCHEMA, "output", True, "native")
CALL = ModelCall("List the people.", "Call me Ishmael.", "m")
REJECTED = Rejection('{"people": 7}', (("/people", "array"), ("", "no property x")))


def call(
    sending: Sending = "native",
    rejected: Rejection | None = None,
    system: str = CALL.system,
    options: Mapping[str, object] | None = None,
) -> ModelCall:
    form = FORM._replace(sending=sending, rejected=rejected)
    return ModelCall(system, CALL.user, CALL.model, options=options or {}, form=form)


def test_a_call_without_a_form_says_two_things() -> None:
    assert json.dumps(asking.messages(CALL)) == (
        '[{"role": "system", "content": "List the people."}, {"role": "user", "content": "Call me Ishmael."}]'
    )
    assert asking.messages(ModelCall("", "x", "m")) == [{"role": "user", "content": "x"}]
    assert asking.response_format(CALL.form) == {}


@pytest.mark.parametrize("system", ["List the people.", ""])
def test_the_schema_stands_in_the_system_message(system: str) -> None:
    for sending in ("prompt", "both"):
        first, *others = asking.messages(call(sending, system=system))
        assert first["role"] == "system"
        said, schema = first["content"].split("JSON Schema:\n")
        assert json.loads(schema) == SCHEMA
        assert "人名" in schema
        assert said.startswith(f"{system}\n\nYour answer" if system else "Your answer")
        assert others == [{"role": "user", "content": CALL.user}]


@pytest.mark.parametrize(("sending", "has_field"), [("native", True), ("both", True), ("prompt", False)])
def test_the_field_goes_where_it_is_wanted(sending: Sending, has_field: bool) -> None:
    wrapped = {"type": "json_schema", "json_schema": {"name": "output", "strict": True, "schema": SCHEMA}}
    bare = {"type": "json_schema", "json_schema": SCHEMA}
    form = call(sending).form
    assert asking.response_format(form) == ({"response_format": wrapped} if has_field else {})
    assert asking.response_format(form, bare=True) == ({"response_format": bare} if has_field else {})


@pytest.mark.parametrize("sending", ["native", "prompt", "both"])
def test_a_model_is_asked_again_with_its_answer_and_the_faults(sending: Sending) -> None:
    before, after = asking.messages(call(sending)), asking.messages(call(sending, REJECTED))
    assert after[: len(before)] == before
    assert after[len(before) :] == [
        {"role": "assistant", "content": '{"people": 7}'},
        {
            "role": "user",
            "content": "Your answer does not fit the JSON Schema:\n"
            "- at /people: expected array\n"
            "- at the root: expected no property x\n"
            "Write the whole corrected JSON object, and nothing else.",
        },
    ]


def again(output: str, faults: list[tuple[str, str]]) -> tuple[str, str]:
    answer, request = asking.messages(call("native", Rejection(output, tuple(faults))))[-2:]
    assert (answer["role"], request["role"]) == ("assistant", "user")
    return answer["content"], request["content"]


def test_a_hostile_answer_stays_small() -> None:
    pointer = "/\n- at /x: expected\u2028nothing\ud800\x00" + "k" * 100_000
    answer, request = again("[" * 200_000, [(pointer, "y\r\n" * 50_000)] * 500)
    assert answer == "[" * limits.REJECTED_CHARS_MOST
    lines = request.split("\n")
    assert len(lines) == limits.FAULTS_MOST + 3
    assert all(len(line) < 2 * limits.FAULT_CHARS_MOST + 40 and line.isprintable() for line in lines)
    assert "Only the beginning" in lines[-2]
    assert "Only the beginning" not in again("[]", [("", "object")])[1]


def test_what_is_stored_of_an_answer_gives_the_same_call() -> None:
    whole = "x" * (limits.REJECTED_CHARS_MOST + 1)
    assert again(whole, []) == again(whole[: limits.REJECTED_CHARS_MOST], [])


@pytest.mark.parametrize(
    "said",
    [
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "Invalid schema for response_format 'output': In context=(), 'required' is required to be supplied",
        "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later",
        "This response_format type is unavailable now",
        "Failed to deserialize the JSON body: response_format.type `json_schema` is unavailable now at line 1",
        "This model does not support response format `json_schema`. See supported models",
        "litellm.UnsupportedParamsError: x does not support parameters: ['response_format'], for model=y",
        "The provided JSON schema contains features not supported by xgrammar.",
        "Failed to transform json schema into a grammar: unsupported",
        "Grammar error: Unknown format: time",
        "JSON schema error at #/properties/a: cannot resolve $ref #/$defs/none, $defs not found",
        "Failed to initialize samplers: failed to parse grammar",
        "invalid JSON schema in format",
        "5025: This model doesn't support JSON Schema.",
        'Invalid JSON payload received. Unknown name "response_schema"',
    ],
)
def test_words_about_the_field_name_the_variable(said: str) -> None:
    for sending in ("native", "both"):
        error = asking.form_failure(call(sending), said, "the provider answered 400")
        assert type(error) is errors.StructuredOutputUnsupported
        assert (error.code, error.retryable) == ("structured_output_unsupported", False)
        assert "STRUCTURED_OUTPUT" in str(error)
    assert asking.form_failure(call("prompt"), said, "x") is None
    assert asking.form_failure(CALL, said, "x") is None


@pytest.mark.parametrize(
    "said",
    [
        "5024: JSON Mode couldn't be met",
        "The model produced output that does not match the expected peg-native format",
        '{"message": "Failed to generate JSON. Please adjust your prompt.", "code": "json_validate_failed"}',
    ],
)
def test_an_output_that_the_server_found_unfit_may_succeed_later(said: str) -> None:
    for sending in ("native", "both", "prompt"):
        error = asking.form_failure(call(sending), said, "because")
        assert type(error) is errors.ModelReplyMalformed
        assert str(error) == "because"
    assert asking.form_failure(CALL, said, "x") is None


def test_the_schema_and_the_answer_are_the_clients_texts() -> None:
    texts = asking.client_texts(call("native", REJECTED))
    assert any("people" in text for text in texts)
    assert '{"people": 7}' in texts
    assert not any("additionalProperties" in text for text in texts)


def test_a_clients_own_field_does_not_replace_the_form() -> None:
    """If AI_MODEL_OPTIONS lets clients set `response_format`, a task's schema still wins over the client's value."""
    given = call("native", options={"response_format": {"type": "text"}, "seed": 1})
    sent = {**asking.fields(given, "max_tokens"), **asking.response_format(given.form)}
    assert sent == {"seed": 1, **asking.response_format(given.form)}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Incorrect API key provided",
        "This model's maximum context length is 8192 tokens",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy",
        "x" * 4_000 + "response_format",
    ],
)
def test_other_words_are_not_about_the_form(said: str) -> None:
    assert asking.form_failure(call("both"), said, "x") is None


@pytest.mark.parametrize("output", ["", " \n"])
def test_an_empty_answer_is_no_empty_message(output: str) -> None:
    assert again(output, [("", "object")])[0] == "(empty)"


FORM_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "capital": {"type": "string"}},
    "required": ["name", "capital"],
    "additionalProperties": False,
}
OUTPUT_FORM = OutputForm(FORM_SCHEMA, "output", True, "native")
FORMED_CALL = ModelCall("Extract data about a country.", "Tell me about India.", "model-1", form=OUTPUT_FORM)
FREE = FORMED_CALL._replace(form=None)
ANSWER = '{"name":"India","capital":"New Delhi"}'


def with_sending(sending: Sending) -> ModelCall:
    return FORMED_CALL._replace(form=OUTPUT_FORM._replace(sending=sending))


def choice(message: object, reason: object = "stop") -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "model-1",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def sent(document: object, call: ModelCall = FORMED_CALL, status: int = 200) -> tuple[dict[str, Any], ModelReply]:
    http = ScriptedHttp(HttpReply(status, {}, json.dumps(document).encode()))
    reply = asyncio.run(OpenAIProvider(http, base_url="http://m.test/v1", api_key=None, model=None).infer(call))
    body = json.loads(http.requests[0][3] or "")
    assert isinstance(body, dict)
    return body, reply


def refused(status: int, document: object, call: ModelCall = FORMED_CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        sent(document, call, status)
    return caught.value


def is_unsupported(error: errors.ModelError) -> bool:
    return type(error) is errors.StructuredOutputUnsupported and "STRUCTURED_OUTPUT" in str(error)


def test_openai_gets_name_strictness_and_schema() -> None:
    body, reply = sent(choice({"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}))
    assert body == {
        "model": "model-1",
        "messages": [{"role": "system", "content": FORMED_CALL.system}, {"role": "user", "content": FORMED_CALL.user}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "strict": True, "schema": FORM_SCHEMA},
        },
    }
    assert reply == ModelReply(ANSWER, 7, 2, "stop")


def test_openais_refusal_is_an_output_that_a_filter_ended() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I'm sorry, I cannot assist with that request."}
    _, reply = sent(choice(message))
    assert reply == ModelReply("I'm sorry, I cannot assist with that request.", 7, 2, "content_filter")
    assert type(refused(200, choice(message), FREE)) is errors.ModelReplyMalformed


@pytest.mark.parametrize("refusal", [None, "", " ", 7, ["no"]])
def test_no_content_and_no_refusal_is_malformed(refusal: object) -> None:
    error = refused(200, choice({"role": "assistant", "content": None, "refusal": refusal}))
    assert type(error) is errors.ModelReplyMalformed


@pytest.mark.parametrize("content", [None, "", " \n\n  "])
def test_an_output_that_was_cut_before_its_first_word_is_cut(content: str | None) -> None:
    assert sent(choice({"content": content}, "length"))[1].finish_reason == "length"
    assert "maxOutputTokens" in str(refused(200, choice({"content": content}, "length"), FREE))


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", None),
        ("Invalid schema for response_format 'output': In context=(), 'x' is not permitted.", "response_format"),
        ("Unsupported value", "response_format"),
    ],
)
def test_openai_refuses_the_field(message: str, param: str | None) -> None:
    error = refused(400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}})
    assert is_unsupported(error)
    assert message[:60] in str(error)
    assert len(str(error)) < 300


def test_what_is_wrong_with_a_schema_can_be_read() -> None:
    """An error about a schema contains JSON Schema's own words, but no name of the client's schema."""
    schema = {**FORM_SCHEMA, "properties": {"the secret name of it": {"type": "string"}}}
    call = FORMED_CALL._replace(form=OUTPUT_FORM._replace(schema=schema))
    said = (
        "Invalid schema for response_format: In context=('the secret name of it',), 'additionalProperties' is required"
    )
    shown = str(refused(400, {"error": {"message": said}}, call))
    assert "'additionalProperties' is required" in shown
    assert "secret" not in shown


def test_llama_cpp_refuses_its_own_output() -> None:
    """llama.cpp answers 500 for no JSON, recorded from `make model`, and the call is tried again."""
    message = "The model produced output that does not match the expected peg-native format"
    body = {"error": {"code": 500, "message": message, "type": "server_error"}}
    assert type(refused(500, body, with_sending("both"))) is errors.ModelReplyMalformed
    assert type(refused(500, body, FREE)) is errors.ModelUnavailable


def run(result: object, call: ModelCall = FORMED_CALL) -> tuple[dict[str, object], ModelReply]:
    ai = ScriptedAi(result)
    reply = asyncio.run(WorkersAIProvider(ai, model=None, timeout_seconds=5).infer(call))
    return ai.calls[0][1], reply


def run_error(said: str, call: ModelCall = FORMED_CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        run(RuntimeError(said), call)
    return caught.value


def test_workers_ai_gets_the_schema_without_a_name() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    inputs, reply = run({"response": {"name": "India", "capital": "New Delhi"}, "usage": usage})
    assert inputs == {
        "messages": [{"role": "system", "content": FORMED_CALL.system}, {"role": "user", "content": FORMED_CALL.user}],
        "max_tokens": OUTPUT_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": FORM_SCHEMA},
    }
    assert reply == ModelReply(ANSWER, 7, 2)


def test_workers_ai_gets_the_schema_in_words() -> None:
    inputs, reply = run({"response": ANSWER}, with_sending("prompt"))
    assert inputs.keys() == {"messages", "max_tokens"}
    assert json.dumps(FORM_SCHEMA) in str(inputs["messages"]).replace("'", '"')
    assert reply.output == ANSWER


def test_workers_ai_could_not_meet_the_schema() -> None:
    for said in (
        "5024: JSON Mode couldn't be met",
        "AiError: JSON Mode couldn't be met",
        "AiError: 5024: JSON Model couldn't be met",
    ):
        assert type(run_error(said)) is errors.ModelReplyMalformed


def test_workers_ai_refuses_the_field() -> None:
    for said in ("5025: This model doesn't support JSON Schema.", "AiError: This model doesn't support JSON Schema."):
        assert is_unsupported(run_error(said))
    assert type(run_error("5025: This model doesn't support JSON Schema.", with_sending("prompt"))) is (
        errors.ModelRefused
    )
    assert type(run_error("3040: no capacity for json_schema")) is errors.ModelUnavailable


def deep(levels: int) -> object:
    value: object = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("response", [deep(5_000), {"a": object()}, {"a": b"\xff"}])
def test_an_object_that_is_no_json_is_malformed(response: object) -> None:
    with pytest.raises(errors.ModelReplyMalformed):
        run({"response": response})


def test_objects_are_text_only_where_json_was_asked_for() -> None:
    with pytest.raises(errors.ModelReplyMalformed):
        run({"response": {"a": 1}}, ModelCall("", "x", "m"))


def test_thoughts_alone_are_an_output_of_a_form() -> None:
    assert run({"response": "<think>Hm.</think>\n"})[1].output == "<think>Hm.</think>\n"
    assert run({"response": f"<think>Hm.</think>\n{ANSWER}"})[1].output == ANSWER


def test_a_second_try_has_the_same_field() -> None:
    rejected = Rejection('{"name": 7}', (("/name", "string"),))
    call = FORMED_CALL._replace(form=OUTPUT_FORM._replace(rejected=rejected))
    body, _ = sent(choice({"content": ANSWER}), call)
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["response_format"] == sent(choice({"content": ANSWER}))[0]["response_format"]


def test_content_counts_more_than_a_refusal() -> None:
    assert sent(choice({"content": ANSWER, "refusal": "no"}))[1].output == ANSWER


def test_what_a_filter_withheld_is_an_empty_output_of_a_form() -> None:
    assert sent(choice({"content": None}, "content_filter"))[1] == ModelReply("", 7, 2, "content_filter")


def test_a_used_up_quota_is_not_about_the_form() -> None:
    body = {"error": {"message": "no json_schema on your plan", "code": "insufficient_quota"}}
    assert type(refused(400, body)) is errors.ModelQuotaExhausted


@pytest.mark.parametrize(("status", "kind"), [(401, errors.ModelMisconfigured), (429, errors.ModelRateLimited)])
def test_other_statuses_keep_their_meaning(status: int, kind: type[errors.ModelError]) -> None:
    assert type(refused(status, {"error": {"message": "response_format"}})) is kind
