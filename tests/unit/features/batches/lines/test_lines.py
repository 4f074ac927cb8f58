"""What a line of a batch must have, and the fault of each line that has something else."""

import json
from typing import Any

import pytest

from src.features.batches.lines.line_json import custom_id_of, parse_line
from src.features.batches.lines.lines import (
    CHAT,
    ENDPOINTS,
    RESPONSES,
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
