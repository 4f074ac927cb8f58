"""The messages and fields of a call: without a schema, with one, and when the model is asked again."""

import json
from collections.abc import Mapping

import pytest

from src.kernel.calls import asking
from src.kernel.calls.protocol import ModelCall, OutputForm
from src.kernel.domain import errors, limits
from src.kernel.domain.settings import Sending
from src.kernel.domain.structure import Rejection

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
    """When a model is asked again, two messages follow those of the first call: its answer, and the faults."""
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
