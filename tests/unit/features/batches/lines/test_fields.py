"""The fields of a line's body: which reach the provider, which change nothing, and which are refused."""

import inspect
from typing import Any

import pytest
from openai.resources.chat.completions import Completions
from openai.resources.responses import Responses

from src.features.batches.lines import fields
from src.features.batches.lines.lines import CHAT, RESPONSES, BatchEndpoint, LineCode, call_body, check_line, rules_of
from src.kernel.domain.settings import BATCH_FIELDS, MODEL_OPTIONS, Settings
from tests.unit.features.batches.lines.test_lines import BODIES, checked, fault, with_fields

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
