"""Calls with an output schema on the wire: requests and answers as each server's own documents have them.

The pages: OpenAI, "Structured model outputs"; vLLM, "Structured Outputs"; Ollama, "Structured outputs" and "OpenAI
compatibility"; llama.cpp, "LLaMA.cpp HTTP Server"; Cloudflare Workers AI, "JSON Mode" and "Errors".
"""

import asyncio
import json
from typing import Any

import pytest

from src.core import errors
from src.core.model_servers import Sending
from src.inference.openai import OpenAIProvider
from src.inference.protocol import HttpReply, ModelCall, ModelReply, OutputForm, RejectedAnswer
from src.inference.workers_ai import OUTPUT_TOKENS, WorkersAIProvider
from tests.unit.inference.test_openai import ScriptedHttp
from tests.unit.inference.test_workers_ai import ScriptedAi

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "capital": {"type": "string"}},
    "required": ["name", "capital"],
    "additionalProperties": False,
}
FORM = OutputForm(SCHEMA, "output", True, "native")
CALL = ModelCall("Extract data about a country.", "Tell me about India.", "model-1", form=FORM)
ANSWER = '{"name":"India","capital":"New Delhi"}'


def with_sending(sending: Sending) -> ModelCall:
    return ModelCall(CALL.system, CALL.user, CALL.model, form=FORM._replace(sending=sending))


def choice(message: object, reason: object = "stop") -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "model-1",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def sent(document: object, call: ModelCall = CALL, status: int = 200) -> tuple[dict[str, Any], ModelReply]:
    """Make a call. Return the body that was sent, and the reply."""
    http = ScriptedHttp(HttpReply(status, {}, json.dumps(document).encode()))
    reply = asyncio.run(OpenAIProvider(http, base_url="http://m.test/v1", api_key=None, model=None).infer(call))
    body = json.loads(http.requests[0][3] or "")
    assert isinstance(body, dict)
    return body, reply


def refused(status: int, document: object, call: ModelCall = CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        sent(document, call, status)
    return caught.value


def is_unsupported(error: errors.ModelError) -> bool:
    return type(error) is errors.StructuredOutputUnsupported and "STRUCTURED_OUTPUT" in str(error)


# --- OpenAI ------------------------------------------------------------------------------------------------------


def test_openai_gets_name_strictness_and_schema() -> None:
    """OpenAI, "Structured model outputs": `response_format` has a name, `strict` and the schema. Messages stay."""
    body, reply = sent(choice({"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}))
    assert body == {
        "model": "model-1",
        "messages": [{"role": "system", "content": CALL.system}, {"role": "user", "content": CALL.user}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "strict": True, "schema": SCHEMA},
        },
    }
    assert reply == ModelReply(ANSWER, 7, 2, "stop")


def test_openais_refusal_is_an_output_that_a_filter_ended() -> None:
    """OpenAI, "Structured model outputs", "Refusals": the text is in `refusal`, and there is no content.

    The refusal becomes the output with the reason `content_filter`, so it is never repaired. Its tokens are counted. A
    call without a form is malformed as before.
    """
    message = {"role": "assistant", "content": None, "refusal": "I'm sorry, I cannot assist with that request."}
    _, reply = sent(choice(message))
    assert reply == ModelReply("I'm sorry, I cannot assist with that request.", 7, 2, "content_filter")
    free = ModelCall(CALL.system, CALL.user, CALL.model)
    assert type(refused(200, choice(message), free)) is errors.ModelReplyMalformed


@pytest.mark.parametrize("refusal", [None, "", " ", 7, ["no"]])
def test_no_content_and_no_refusal_is_malformed(refusal: object) -> None:
    """Only a refusal in words stands in for the content."""
    error = refused(200, choice({"role": "assistant", "content": None, "refusal": refusal}))
    assert type(error) is errors.ModelReplyMalformed


def test_content_counts_more_than_a_refusal() -> None:
    """If a server sends both, the content is judged."""
    assert sent(choice({"content": ANSWER, "refusal": "no"}))[1].output == ANSWER


def test_what_a_filter_withheld_is_an_empty_output() -> None:
    """A filter's answer without text is an output like any other: its schema refuses it."""
    assert sent(choice({"content": None}, "content_filter"))[1] == ModelReply("", 7, 2, "content_filter")


@pytest.mark.parametrize("content", [None, "", " \n\n  "])
def test_an_output_that_was_cut_before_its_first_word_is_cut(content: str | None) -> None:
    """A model may think, or write white space, until the limit. That is a cut output, and no call is made for it.

    Without a form it is malformed as before, and the call is repeated.
    """
    assert sent(choice({"content": content}, "length"))[1].finish_reason == "length"
    free = ModelCall(CALL.system, CALL.user, CALL.model)
    assert "maxOutputTokens" in str(refused(200, choice({"content": content}, "length"), free))


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", None),
        ("Invalid schema for response_format 'output': In context=(), 'x' is not permitted.", "response_format"),
        ("Unsupported value", "response_format"),
    ],
)
def test_openai_refuses_the_field(message: str, param: str | None) -> None:
    """OpenAI names the field in the message or in `param`. Azure's answers have the same form."""
    error = refused(400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": None}})
    assert is_unsupported(error)
    assert message[:60] in str(error)
    assert len(str(error)) < 300


def test_what_is_wrong_with_a_schema_can_be_read() -> None:
    """The schema is the client's text and does not reach logs, but JSON Schema's own words do."""
    schema = {**SCHEMA, "properties": {"the secret name of it": {"type": "string"}}}
    call = ModelCall(CALL.system, CALL.user, CALL.model, form=FORM._replace(schema=schema))
    said = (
        "Invalid schema for response_format: In context=('the secret name of it',), 'additionalProperties' is required"
    )
    shown = str(refused(400, {"error": {"message": said}}, call))
    assert "'additionalProperties' is required" in shown
    assert "secret" not in shown


def test_a_used_up_quota_is_not_about_the_form() -> None:
    """What the account lacks counts more than the words of the message."""
    body = {"error": {"message": "no json_schema on your plan", "code": "insufficient_quota"}}
    assert type(refused(400, body)) is errors.ModelQuotaExhausted


@pytest.mark.parametrize(("status", "kind"), [(401, errors.ModelRefused), (429, errors.ModelRateLimited)])
def test_other_statuses_keep_their_meaning(status: int, kind: type[errors.ModelError]) -> None:
    """Only answers that judge the request itself are searched for words about the field."""
    assert type(refused(status, {"error": {"message": "response_format"}})) is kind


# --- vLLM ----------------------------------------------------------------------------------------------------------


def test_vllm_gets_the_field_and_the_schema_in_words() -> None:
    """vLLM, "Structured Outputs": `response_format` as at OpenAI, and a prompt that describes the JSON helps."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": ANSWER,
        "reasoning_content": None,
        "tool_calls": [],
    }
    body, reply = sent({**choice(message), "prompt_logprobs": None}, with_sending("both"))
    assert body["response_format"]["json_schema"] == {"name": "output", "strict": True, "schema": SCHEMA}
    system, user = body["messages"]
    assert system["content"].endswith(json.dumps(SCHEMA))
    assert user == {"role": "user", "content": CALL.user}
    assert reply.output == ANSWER


@pytest.mark.parametrize(
    "document",
    [
        {"object": "error", "message": "The provided JSON schema contains features not supported by xgrammar."},
        {"error": {"message": "Grammar error: Unknown format: time", "type": "BadRequestError", "code": 400}},
        {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]},
    ],
)
def test_vllm_refuses_the_field(document: object) -> None:
    """vLLM, `backend_xgrammar.py`: a schema that the grammar's compiler does not take is 400. Older ones have 422."""
    assert is_unsupported(refused(400, document, with_sending("both")))
    assert is_unsupported(refused(422, document, with_sending("both")))


# --- Ollama --------------------------------------------------------------------------------------------------------


def test_ollama_gets_the_field() -> None:
    """Ollama, "OpenAI compatibility": `response_format` is supported; its source reads `json_schema.schema`."""
    document = {**choice({"role": "assistant", "content": ANSWER}), "system_fingerprint": "fp_ollama"}
    body, reply = sent(document, with_sending("both"))
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert reply == ModelReply(ANSWER, 7, 2, "stop")


def test_ollama_refuses_a_schema_with_500() -> None:
    """Ollama, `llm/server.go`: a schema without a grammar is an error of 500, which would not pass by itself."""
    body = {"error": {"message": "invalid JSON schema in format", "type": "api_error", "param": None, "code": None}}
    assert is_unsupported(refused(500, body, with_sending("both")))
    assert type(refused(500, body, with_sending("prompt"))) is errors.ModelUnavailable


# --- llama.cpp -----------------------------------------------------------------------------------------------------


def test_llama_cpp_gets_the_field() -> None:
    """llama.cpp, "LLaMA.cpp HTTP Server": `response_format` as at OpenAI. The answer was recorded from `make model`."""
    document = {
        "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": '{\n"a": []}'}}],
        "created": 1795845361,
        "model": "smollm2-135m-instruct",
        "system_fingerprint": "b0-unknown",
        "object": "chat.completion",
        "usage": {"completion_tokens": 43, "prompt_tokens": 34, "total_tokens": 77},
        "id": "chatcmpl-zTm5CMZFpNBT2YomAP9UDiVs69dnxQSo",
        "timings": {"cache_n": 0, "prompt_n": 34, "prompt_ms": 349.009},
    }
    body, reply = sent(document, with_sending("both"))
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert reply == ModelReply('{\n"a": []}', 34, 43, "stop")


def test_llama_cpp_refuses_a_schema() -> None:
    """The answer was recorded from `make model`, with a reference to nowhere."""
    message = (
        "Unable to generate parser for this template. Automatic parser generation failed: JSON schema error at "
        "#/properties/a: cannot resolve $ref #/$defs/none, $defs not found"
    )
    body = {"error": {"code": 400, "message": message, "type": "invalid_request_error"}}
    assert is_unsupported(refused(400, body, with_sending("both")))


def test_llama_cpp_refuses_its_own_output() -> None:
    """The answer was recorded from `make model`: the server is there, and its model wrote no JSON."""
    message = "The model produced output that does not match the expected peg-native format"
    body = {"error": {"code": 500, "message": message, "type": "server_error"}}
    assert type(refused(500, body, with_sending("both"))) is errors.ModelReplyMalformed
    free = ModelCall(CALL.system, CALL.user, CALL.model)
    assert type(refused(500, body, free)) is errors.ModelUnavailable


# --- Workers AI ----------------------------------------------------------------------------------------------------


def run(result: object, call: ModelCall = CALL) -> tuple[dict[str, object], ModelReply]:
    ai = ScriptedAi(result)
    reply = asyncio.run(WorkersAIProvider(ai, model=None, timeout_seconds=5).infer(call))
    return ai.calls[0][1], reply


def run_error(said: str, call: ModelCall = CALL) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        run(RuntimeError(said), call)
    return caught.value


def test_workers_ai_gets_the_schema_without_a_name() -> None:
    """Workers AI, "JSON Mode": `json_schema` is the schema itself, and the response is an object."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    inputs, reply = run({"response": {"name": "India", "capital": "New Delhi"}, "usage": usage})
    assert inputs == {
        "messages": [{"role": "system", "content": CALL.system}, {"role": "user", "content": CALL.user}],
        "max_tokens": OUTPUT_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    }
    assert reply == ModelReply(ANSWER, 7, 2)


def test_workers_ai_gets_the_schema_in_words() -> None:
    """With `prompt`, the default there, the call has no field that a model may not take."""
    inputs, reply = run({"response": ANSWER}, with_sending("prompt"))
    assert inputs.keys() == {"messages", "max_tokens"}
    assert json.dumps(SCHEMA) in str(inputs["messages"]).replace("'", '"')
    assert reply.output == ANSWER


def test_workers_ai_could_not_meet_the_schema() -> None:
    """Workers AI, "JSON Mode": `JSON Mode couldn't be met` must be handled. Another try may meet it."""
    for said in ("5024: JSON Mode couldn't be met", "AiError: JSON Mode couldn't be met"):
        assert type(run_error(said)) is errors.ModelReplyMalformed


def test_workers_ai_refuses_the_field() -> None:
    """A model that does not take the field is refused for good, with or without a code."""
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
    """The binding's objects are hostile input, too: depth ends in an error, not in the interpreter."""
    with pytest.raises(errors.ModelReplyMalformed):
        run({"response": response})


def test_objects_are_text_only_where_json_was_asked_for() -> None:
    """Without a form an object is no text, as before."""
    with pytest.raises(errors.ModelReplyMalformed):
        run({"response": {"a": 1}}, ModelCall("", "x", "m"))


def test_thoughts_alone_are_an_output_of_a_form() -> None:
    """The schema refuses them, and the model is asked again: a retry would not tell it why."""
    assert run({"response": "<think>Hm.</think>\n"})[1].output == "<think>Hm.</think>\n"
    assert run({"response": f"<think>Hm.</think>\n{ANSWER}"})[1].output == ANSWER


# --- All -----------------------------------------------------------------------------------------------------------


def test_a_second_try_has_the_same_field() -> None:
    """The answer and its faults follow the text, and the server is held to the schema again."""
    rejected = RejectedAnswer('{"name": 7}', [("/name", "string")])
    call = ModelCall(CALL.system, CALL.user, CALL.model, form=FORM._replace(rejected=rejected))
    body, _ = sent(choice({"content": ANSWER}), call)
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["response_format"] == sent(choice({"content": ANSWER}))[0]["response_format"]
