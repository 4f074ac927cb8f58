"""Bodies of `/v1/responses` become bodies of chat completions."""

from typing import Any

import pytest

from src.features.batches.lines.lines import RESPONSES, LineCode, call_body, rules_of
from src.kernel.domain.settings import Settings
from tests.unit.features.batches.lines.test_lines import RULES, checked, fault, with_fields

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
