"""The lines of a batch: what a line must have, which fields reach the provider, and the faults of all others."""

import inspect
import json
from typing import Any

import pytest
from openai.resources.chat.completions import Completions
from openai.resources.responses import Responses

from src.features.batches.lines import fields
from src.features.batches.lines.line_json import custom_id_of, parse_line
from src.features.batches.lines.lines import (
    CHAT,
    ENDPOINTS,
    RESPONSES,
    BatchEndpoint,
    Line,
    LineCode,
    LineFault,
    LineRules,
    call_body,
    check_line,
    line_again,
    rules_of,
)
from src.kernel.domain import limits
from src.kernel.domain.settings import BATCH_FIELDS, MODEL_OPTIONS, Settings

RULES = rules_of(Settings(), CHAT, "m-1")
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"model": "m-1", "input": "Hi"},
}


def line(endpoint: str = CHAT, body: object = None, **changes: object) -> bytes:
    given = {"custom_id": "r-1", "method": "POST", "url": endpoint, "body": body or BODIES[endpoint], **changes}
    return json.dumps({name: value for name, value in given.items() if value is not ...}).encode()


def with_fields(endpoint: str = CHAT, **fields: object) -> bytes:
    return line(endpoint, {name: value for name, value in (BODIES[endpoint] | fields).items() if value is not ...})


def checked(raw: bytes, endpoint: str = CHAT, rules: LineRules = RULES) -> Line:
    assert endpoint in ENDPOINTS
    found = check_line(raw, 3, rules._replace(endpoint=endpoint))
    assert isinstance(found, Line), found
    return found


def fault(raw: bytes, rules: LineRules = RULES) -> LineFault:
    found = check_line(raw, 3, rules)
    assert isinstance(found, LineFault), found
    assert found.line == 3
    assert found.message
    return found


def test_a_valid_line_is_read() -> None:
    body = BODIES[CHAT] | {"temperature": 0.5, "user": "u-1", "stop": None}
    found = checked(line(body=body))
    assert found == Line("r-1", "m-1", {"messages": body["messages"], "temperature": 0.5}, {"user": "u-1"})


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nothing",
        b"[]",
        b'"text"',
        b"{}{}",
        b'{"custom_id": NaN}',
        b'{"custom_id": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1' + b"0" * 5_000 + b"}",
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 900_000,
        b'{"a": ' + b'{"b": ' * 100_000,
        b'{"a": "\x00"}',
    ],
)
def test_only_json_with_one_meaning_is_a_line(raw: bytes) -> None:
    found = fault(raw)
    assert (found.code, found.param) == (LineCode.INVALID_JSON_LINE, None)
    assert found.message.startswith("The line is ")


def test_the_message_says_what_is_wrong_with_the_json() -> None:
    assert fault(b'{"a": secret}').message == "The line is not JSON: Expecting value at character 7."
    assert fault(b'{"a": "\xff"}').message == "The line is not UTF-8: byte 8 of the line is wrong."
    assert "twice" in fault(b'{"a": 1, "a": 1}').message
    assert "surrogate" in fault(b'{"a": "\\ud800"}').message
    assert "200 levels" in fault(b"[" * 300 + b"]" * 300).message
    assert "too many digits" in fault(b"1" * 5_000).message
    assert "NaN" in fault(b"[NaN]").message
    assert "too large" in fault(b"[1e999]").message


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"custom_id": "wrong", "content": "\U0001f600 \x00 多"}]},
        {"model": "m", "messages": [{"role": "user"}], "deep": json.loads("[" * 190 + "]" * 190), "n": 10**400},
    ],
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_the_id_of_a_checked_line_is_read_again(body: object, is_ascii: bool) -> None:
    for custom_id in ("r-1", 'a"b\\c', "~" * limits.CUSTOM_ID_CHARS_MOST):
        document = {"body": body, "custom_id": custom_id, "method": "POST"}
        raw = json.dumps(document, ensure_ascii=is_ascii).encode()
        assert parse_line(raw) == document
        assert custom_id_of(raw) == custom_id


def test_a_line_of_a_megabyte_is_the_longest() -> None:
    rest = len(line(body=BODIES[CHAT] | {"messages": [{"role": "user", "content": ""}]}))
    for size, is_fine in ((limits.BATCH_LINE_BYTES_MOST, True), (limits.BATCH_LINE_BYTES_MOST + 1, False)):
        text = "x" * (size - rest)
        raw = line(body=BODIES[CHAT] | {"messages": [{"role": "user", "content": text}]})
        assert len(raw) == size
        if is_fine:
            checked(raw)
        else:
            assert fault(raw).code == LineCode.LINE_TOO_LARGE


@pytest.mark.parametrize("custom_id", [..., None, "", 7, ["r"], "x" * 65, "a b", "a\tb", "ü", "请求", "a\x7f", "a\n"])
def test_an_id_has_visible_characters(custom_id: object) -> None:
    assert fault(line(custom_id=custom_id))[::3] == (LineCode.INVALID_JSON_LINE, "custom_id")
    for fine in ("x" * 64, "!", "~", "a/b:c#1"):
        assert checked(line(custom_id=fine)).custom_id == fine


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"method": "GET"}, LineCode.INVALID_JSON_LINE, "method"),
        ({"method": "post"}, LineCode.INVALID_JSON_LINE, "method"),
        ({"method": ...}, LineCode.INVALID_JSON_LINE, "method"),
        ({"url": RESPONSES}, LineCode.URL_MISMATCH, "url"),
        ({"url": ...}, LineCode.URL_MISMATCH, "url"),
        ({"url": "https://api.openai.com" + CHAT}, LineCode.URL_MISMATCH, "url"),
        ({"body": ...}, LineCode.INVALID_JSON_LINE, "body"),
        ({"body": [1]}, LineCode.INVALID_JSON_LINE, "body"),
        ({"body": "{}"}, LineCode.INVALID_JSON_LINE, "body"),
        ({"priority": 1}, LineCode.UNSUPPORTED_PARAMETER, "priority"),
        ({"a\nb": 1}, LineCode.UNSUPPORTED_PARAMETER, "a\\nb"),
    ],
)
def test_the_members_of_a_line(changes: dict[str, Any], code: LineCode, param: str) -> None:
    assert fault(line(**changes))[::3] == (code, param)


def test_a_model_must_be_allowed() -> None:
    rules = rules_of(Settings(models=("m-2",)), CHAT, "m-1")
    assert fault(with_fields(model="m-3"), rules)[::3] == (LineCode.MODEL_NOT_ALLOWED, "body.model")
    assert {checked(with_fields(model=model), rules=rules).model for model in ("m-1", "m-2")} == {"m-1", "m-2"}
    assert checked(with_fields(model="any")).model == "any"


def test_all_lines_name_one_model() -> None:
    found = fault(with_fields(model="m-2"), RULES._replace(model="m-1"))
    assert found[::3] == (LineCode.MISMATCHED_MODEL, "body.model")
    assert "must be m-1" in found.message
    assert checked(line(), rules=RULES._replace(model="m-1")).model == "m-1"


@pytest.mark.parametrize("messages", [..., None, [], {}, "Hi", 7, ["Hi"], [{}, None]])
def test_a_chat_line_has_messages(messages: object) -> None:
    found = fault(with_fields(messages=messages))
    assert found.code == LineCode.INVALID_JSON_LINE
    assert str(found.param).startswith("body.messages")


def test_the_default_fields_are_those_of_the_contract() -> None:
    assert rules_of(Settings(), CHAT, "m").fields == frozenset(BATCH_FIELDS + MODEL_OPTIONS)
    sent: dict[str, Any] = {
        "temperature": 1,
        "max_tokens": 5,
        "response_format": {"type": "json_object"},
        "seed": 1,
        "top_p": 0.5,
    }
    assert checked(with_fields(**sent)).body == sent | {"messages": BODIES[CHAT]["messages"]}


def test_a_line_that_was_valid_stays_valid() -> None:
    raw = with_fields(model="m-3", tools=[{"type": "function"}], user="u", stream=False, n=1, seed=None)
    narrow = LineRules(CHAT, frozenset({"messages"}), ("m-1",), "m-1")
    assert fault(raw, narrow).code == LineCode.MODEL_NOT_ALLOWED
    found = line_again(raw, narrow)
    assert found.model == "m-3"
    assert found.body == {"messages": BODIES[CHAT]["messages"], "tools": [{"type": "function"}]}
    assert found.unsent == {"user": "u", "stream": False, "n": 1}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"text": {"verbosity": "high"}}, {"verbosity": "high"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    ],
)
def test_a_part_that_was_valid_stays_valid(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    raw = with_fields(RESPONSES, **fields)
    narrow = LineRules(RESPONSES, frozenset({"input"}))
    assert fault(raw, narrow).code == LineCode.UNSUPPORTED_PARAMETER
    found = line_again(raw, narrow)
    assert call_body(RESPONSES, found.body) == {"messages": [{"role": "user", "content": "Hi"}], **sent}


@pytest.mark.parametrize("model", [..., None, "", 7, "x" * 201, "a\nb"])
def test_every_line_names_its_model(model: object) -> None:
    assert fault(with_fields(model=model))[::3] == (LineCode.INVALID_JSON_LINE, "body.model")


def test_escaped_and_deep_json_is_read() -> None:
    text = b'"\\ud83d\\ude00\\u0000\\\\ud800"'
    raw = line().replace(b'"Hi"', text).replace(b'"messages"', b'"stop": ' + b"[" * 150 + b"]" * 150 + b', "messages"')
    found = checked(raw)
    assert found.body["messages"] == [{"role": "user", "content": "😀\0\\ud800"}]


WIDE = rules_of(Settings(batch_fields=(*BATCH_FIELDS, *MODEL_OPTIONS, "tools", "user", "verbosity")), CHAT, "m-1")


@pytest.mark.parametrize(
    ("name", "values", "refused"),
    [
        ("stream", [False], [True, 0]),
        ("n", [1], [2, 0, True]),
        ("store", [True, False], ["no"]),
        ("metadata", [{}, {"a": "b"}], [{"a": 1}, [], {str(n): "" for n in range(17)}, {"a": "x" * 513}]),
        ("user", ["u"], [7]),
        ("safety_identifier", ["u"], [7]),
        ("prompt_cache_key", ["u"], [7]),
        ("prompt_cache_retention", ["24h"], [7]),
        ("service_tier", ["auto", "default", "flex"], ["priority"]),
        ("parallel_tool_calls", [True], [False, 1]),
        ("tools", [[]], [[{"type": "function"}]]),
        ("tool_choice", ["auto", "none"], ["required"]),
        ("functions", [[]], [[{}]]),
        ("function_call", ["none"], [{"name": "f"}]),
        ("logprobs", [False], [True]),
        ("top_logprobs", [0], [3, False]),
        ("logit_bias", [{}], [{"1": 2}]),
        ("modalities", [["text"]], [["text", "audio"]]),
        ("verbosity", ["medium"], ["low"]),
    ],
)
def test_fields_that_change_nothing_are_accepted_and_not_sent(
    name: str, values: list[object], refused: list[object]
) -> None:
    for value in values:
        given: dict[str, Any] = {name: value}
        found = checked(with_fields(**given))
        assert list(found.body) == ["messages"]
        assert found.unsent == given
    for value in refused:
        given = {name: value}
        assert fault(with_fields(**given))[::3] == (LineCode.UNSUPPORTED_PARAMETER, f"body.{name}")


@pytest.mark.parametrize("endpoint", [CHAT, RESPONSES])
def test_null_means_that_a_field_is_missing(endpoint: str) -> None:
    nulls: dict[str, Any] = dict.fromkeys(
        ("stream", "temperature", "tools", "max_tokens", "max_output_tokens", "previous_response_id")
    )
    found = checked(with_fields(endpoint, **nulls), endpoint)
    assert found.body.keys() | found.unsent.keys() == BODIES[endpoint].keys() - {"model"}


@pytest.mark.parametrize(
    "name", ["messages", "max_tokens", "response_format", "tools", "previous_response_id", "prompt"]
)
def test_a_field_that_responses_do_not_have_is_refused(name: str) -> None:
    rules = WIDE._replace(endpoint=RESPONSES)
    found = fault(with_fields(RESPONSES, **{name: [{"x": 1}]}), rules)
    assert found[::3] == (LineCode.UNSUPPORTED_PARAMETER, f"body.{name}")


def test_the_deployment_says_which_fields_reach_the_provider() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    found = checked(with_fields(tools=tools, user="u", verbosity="low"), rules=WIDE)
    assert found.body == {"messages": BODIES[CHAT]["messages"], "tools": tools, "user": "u", "verbosity": "low"}
    narrow = rules_of(Settings(batch_fields=("messages",)), CHAT, "m-1")
    assert fault(with_fields(temperature=1), narrow)[::3] == (LineCode.UNSUPPORTED_PARAMETER, "body.temperature")
    message = fault(with_fields(temperature=1), narrow).message
    assert message == "'body.temperature' is not supported here: AI_BATCH_FIELDS does not list it."


def test_tools_are_not_switched_off_in_silence() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert fault(with_fields(tools=tools, tool_choice="none"), WIDE).param == "body.tool_choice"
    checked(with_fields(tools=tools, tool_choice="auto"), rules=WIDE)


@pytest.mark.parametrize("value", [0, -1, 1.5, 100.0, True, "9", 1_000_001])
def test_a_limit_of_tokens_is_a_whole_number(value: Any) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        assert fault(with_fields(**{name: value}))[::3] == (LineCode.INVALID_JSON_LINE, f"body.{name}")


def test_both_names_of_the_limit_of_tokens() -> None:
    found = checked(with_fields(max_tokens=5, max_completion_tokens=5))
    assert call_body(CHAT, found.body) == {"messages": BODIES[CHAT]["messages"], "max_completion_tokens": 5}
    differing = with_fields(max_tokens=5, max_completion_tokens=6)
    assert fault(differing)[::3] == (LineCode.INVALID_JSON_LINE, "body.max_completion_tokens")
    assert call_body(CHAT, checked(with_fields()).body) == {"messages": BODIES[CHAT]["messages"]}


@pytest.mark.parametrize(
    ("endpoint", "create", "refused"),
    [
        (
            CHAT,
            Completions.create,
            {"audio", "moderation", "prediction", "prompt_cache_options", "stream_options", "web_search_options"},
        ),
        (
            RESPONSES,
            Responses.create,
            {
                *("access_programs", "background_options", "conversation", "image", "max_tool_calls", "moderation"),
                *("previous_response_id", "prompt", "prompt_cache_options", "stream_options"),
            },
        ),
    ],
)
def test_each_parameter_of_the_sdk_is_decided(endpoint: BatchEndpoint, create: Any, refused: set[str]) -> None:
    asked = set(inspect.signature(create).parameters) - {"self", "model", "timeout"}
    asked -= {name for name in asked if name.startswith("extra_")}
    is_chat = endpoint == CHAT
    unsent = fields._UNSENT_BY_CHAT if is_chat else fields._UNSENT_BY_RESPONSES
    sent = {name for name in asked if fields._reaches(name, WIDE.fields - {"tools", "user"}, is_chat=is_chat)}
    assert asked - sent - unsent.keys() == refused
    for name in refused:
        found = check_line(with_fields(endpoint, **{name: {"x": 1}}), 1, WIDE._replace(endpoint=endpoint))
        assert found[::3] == (LineCode.UNSUPPORTED_PARAMETER, f"body.{name}")


@pytest.mark.parametrize("name", ["tool_choise", "input", "instructions", "max_output_tokens", "text", "reasoning"])
def test_a_field_that_chat_does_not_have_is_refused(name: str) -> None:
    assert fault(with_fields(**{name: "x"}))[::3] == (LineCode.UNSUPPORTED_PARAMETER, f"body.{name}")


@pytest.mark.parametrize(
    ("name", "value"), [("background", True), ("background", False), ("truncation", "disabled"), ("include", [])]
)
def test_fields_of_a_response_that_change_nothing(name: str, value: object) -> None:
    assert checked(with_fields(RESPONSES, **{name: value}), RESPONSES).unsent == {name: value}


RESPONSE_RULES = RULES._replace(endpoint=RESPONSES)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def sent(**fields: object) -> dict[str, Any]:
    return dict(call_body(RESPONSES, checked(with_fields(RESPONSES, **fields), RESPONSES).body))


def test_messages_stay_messages() -> None:
    given = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "c", "annotations": [], "logprobs": None}],
        },
        {"type": "message", "role": "user", "content": "d"},
    ]
    assert sent(input=given)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a\n\nb"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]


def test_options_get_their_names_in_a_chat_body() -> None:
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}
    made = sent(
        max_output_tokens=9,
        temperature=0,
        top_p=0.5,
        seed=1,
        reasoning={"effort": "low", "summary": None},
        text={"format": form, "verbosity": "medium"},
    )
    del made["messages"]
    assert made == {
        "max_completion_tokens": 9,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 1,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    }


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ({}, None),
        ({"format": {"type": "text"}}, None),
        ({"format": None, "verbosity": None}, None),
        ({"format": {"type": "json_object"}}, {"type": "json_object"}),
    ],
)
def test_the_form_of_the_output(text: object, form: object) -> None:
    assert sent(text=text).get("response_format") == form


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("input", [{"type": "item_reference", "id": "x"}], "input[0].type"),
        ("input", [{"role": "tool", "content": "x"}], "input[0].role"),
        ("input", [{"content": "x"}], "input[0].role"),
        ("input", [{"role": "user", "content": "x", "name": "y"}], "input[0].name"),
        ("input", [{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0].type"),
        (
            "input",
            [{"role": "user", "content": [{"type": "input_text", "text": "a", "annotations": [1]}]}],
            "input[0].content[0].annotations",
        ),
        ("text", {"format": {"type": "grammar"}}, "text.format"),
        ("text", {"verbosity": "low"}, "text.verbosity"),
        ("text", {"other": 1}, "text.other"),
        ("text", {"format": {"type": "json_schema", "name": "n", "schema": {}, "x": 1}}, "text.format.x"),
        ("reasoning", {"summary": "auto"}, "reasoning.summary"),
    ],
)
def test_what_a_chat_completion_cannot_express_is_refused(field: str, value: object, param: str) -> None:
    found = fault(with_fields(RESPONSES, **{field: value}), RESPONSE_RULES)
    assert found[::3] == (LineCode.UNSUPPORTED_PARAMETER, f"body.{param}")


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("input", "", "input"),
        ("input", [], "input"),
        ("input", ..., "input"),
        ("input", {"role": "user"}, "input"),
        ("input", ["Hi"], "input[0]"),
        ("input", [{"role": "user"}], "input[0].content"),
        ("input", [{"role": "user", "content": ["x"]}], "input[0].content[0]"),
        ("input", [{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ("instructions", [1], "instructions"),
        ("text", "plain", "text"),
        ("text", {"format": "text"}, "text.format"),
        ("text", {"format": {"type": "json_schema", "name": "n"}}, "text.format.schema"),
        ("text", {"format": {"type": "json_schema", "schema": {}}}, "text.format.name"),
        ("reasoning", "low", "reasoning"),
        ("max_output_tokens", 0, "max_output_tokens"),
    ],
)
def test_what_is_wrong_is_named(field: str, value: object, param: str) -> None:
    found = fault(with_fields(RESPONSES, **{field: value}), RESPONSE_RULES)
    assert found[::3] == (LineCode.INVALID_JSON_LINE, f"body.{param}")


@pytest.mark.parametrize(
    ("fields", "field", "value", "param"),
    [
        ("input", "reasoning", {"effort": "low"}, "reasoning.effort"),
        ("input", "text", {"format": {"type": "json_object"}}, "text.format"),
        ("input,text", "text", {"verbosity": "low"}, "text.verbosity"),
    ],
)
def test_parts_of_fields_reach_the_provider_by_their_own_names(
    fields: str, field: str, value: object, param: str
) -> None:
    names = tuple(fields.split(","))
    rules = rules_of(Settings(batch_fields=names), RESPONSES, "m-1")
    assert fault(with_fields(RESPONSES, **{field: value}), rules)[::3] == (
        LineCode.UNSUPPORTED_PARAMETER,
        f"body.{param}",
    )
    wide = rules_of(Settings(batch_fields=(*names, "reasoning_effort", "text", "verbosity")), RESPONSES, "m-1")
    checked(with_fields(RESPONSES, **{field: value}), RESPONSES, wide)


def test_a_text_becomes_a_message_of_the_user() -> None:
    assert sent() == {"messages": [{"role": "user", "content": "Hi"}]}
    assert sent(instructions="Be brief.")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
