"""The demo provider's reports and structured outputs, by example, and what they cost."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from src.features.demo import demo, report, structured
from src.features.demo.demo import DemoProvider, analysis, estimated_tokens, formed
from src.kernel.calls.protocol import ModelCall, ModelReply, OutputForm
from src.kernel.domain.settings import Sending
from tests.support.steps import counted

_ENGLISH = """\
# The lighthouse

The lighthouse stood on the northern rocks, and its lamp had burnt every night for ninety years.
Mr. Hale, the keeper, trimmed the lamp at dusk. "Is the oil low?" asked his daughter. He said no.

In the storm of that winter the lamp went out, and the keeper climbed the stairs of the lighthouse
in the dark. It was cold. The daughter counted the ships until the lamp burnt again at midnight.
"""
_CHINESE = """\
第一章

灯塔立在北面的礁石上，塔上的灯已经亮了九十年。守塔人老何在黄昏时修剪灯芯。“油够吗？”女儿问。他点点头。

那年冬天的风暴里灯灭了，守塔人摸黑爬上灯塔的楼梯。很冷。女儿数着海上的船，直到半夜灯塔重新亮起来。
"""


def infer(user: str, system: str = "") -> ModelReply:
    return asyncio.run(DemoProvider().infer(ModelCall(system=system, user=user, model="demo-1")))


def test_chinese_text_is_analysed_in_chinese() -> None:
    output = infer(_CHINESE).output
    assert output == (
        "## 第一章：那年冬天的风暴里灯灭了，守塔人摸黑爬上灯塔的楼梯\n\n"
        "> 那年冬天的风暴里灯灭了，守塔人摸黑爬上灯塔的楼梯。\n\n"
        "> 女儿数着海上的船，直到半夜灯塔重新亮起来。\n\n"
        "**关键词：**灯塔（3）、守塔人（2）、女儿（2）\n\n"
        "*字符 109 · 句子 8*"
    )


def test_a_merge_combines_earlier_outputs_and_is_shorter() -> None:
    texts = [_ENGLISH, _ENGLISH.replace("lighthouse", "harbour"), _ENGLISH.replace("keeper", "captain")]
    joined = "\n\n".join(analysis(text) for text in texts)
    merged = analysis(joined)
    assert len(joined) > 1000
    assert len(merged) < len(joined) / 2
    assert merged.startswith("## The lighthouse\n\n> ")
    assert all(line in joined for line in merged.splitlines() if line.startswith("> "))
    assert "lamp (12)" in merged
    assert f"*Characters {sum(map(len, texts)):,} · sentences 21 · parts 3*" in merged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "## x\n\n> x\n\n*Characters 1 · sentences 1*"),
        ("字", "## 字\n\n> 字\n\n*字符 1 · 句子 1*"),
        ("?!", "## ?!\n\n> ?!\n\n*Characters 2 · sentences 1*"),
        (" \n\t", "## Blank text\n\n*Characters 3 · sentences 0*"),
        ("😀", "## 😀\n\n> 😀\n\n*Characters 1 · sentences 1*"),
        ("#", "## #\n\n> #\n\n*Characters 1 · sentences 1*"),
        (
            "# Only a title",
            "## Only a title\n\n> Only a title\n\n**Key terms:** title (1)\n\n*Characters 14 · sentences 1*",
        ),
    ],
)
def test_the_smallest_texts_get_an_answer(text: str, expected: str) -> None:
    assert analysis(text) == expected


def test_tokens_are_estimated_from_the_bytes_of_both_sides() -> None:
    assert [estimated_tokens(text) for text in ("", "a", "abcd", "abcde", "四个汉字")] == [0, 1, 1, 2, 3]
    reply = infer("user text", "system ")
    assert reply.input_tokens == 4
    assert reply.output_tokens == estimated_tokens(reply.output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        _ENGLISH,
        _CHINESE,
        "a",
        "字",
        "#",
        "\n",
        ". ",
        "Mr. ",
        "。a",
        "a\n",
        "Ab. ",
        "\u0301",
        "> b\n\n",
        "## a\n\n> b\n\n",
    ],
)
def test_the_work_grows_with_the_text_alone(unit: str) -> None:
    text = unit * (20_000 // len(unit.encode()))
    with counted(demo, report) as steps:
        analysis(text)
    assert steps.lines <= 20 * len(text) + 500
    assert len(analysis(50 * text)) < 1_000


def test_the_order_of_sets_does_not_show() -> None:
    script = "import sys; from src.features.demo.demo import analysis; print(ascii(analysis(sys.argv[1])))"
    text = " ".join(f"Word{n % 7} walks{n % 5} alone{n % 3} here{n % 11} with{n % 13}." for n in range(200))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script, text],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(outputs) == 1


jsonschema: Any = importlib.import_module("jsonschema_rs")

TEXT = """\
The lighthouse stood on the northern rocks, and its lamp had burnt every night for 90 years.
Mr. Hale, the keeper, trimmed the lamp at dusk. His daughter counted 12 ships.

In the storm of that winter the lamp went out, and the keeper climbed the stairs of the lighthouse.
"""
NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/tree"}},
    "required": ["tree"],
    "additionalProperties": False,
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["name", "children"],
        }
    },
}


def is_valid(schema: dict[str, Any], value: object) -> bool:
    return bool(jsonschema.Draft202012Validator(schema, validate_formats=True).is_valid(value))


def made(schema: dict[str, Any], text: str = TEXT) -> Any:
    value = json.loads(formed(schema, text))
    assert is_valid(schema, value), value
    return value


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def infer_formed(sending: Sending, tokens: int | None = None) -> ModelReply:
    form = OutputForm(of(names=NAMES), "output", True, sending)
    call = ModelCall("Do it.", TEXT, "demo-1", max_output_tokens=tokens, form=form)
    return asyncio.run(DemoProvider().infer(call))


@pytest.mark.parametrize("sending", ["native", "prompt", "both"])
def test_a_form_is_honoured_however_it_is_sent(sending: Sending) -> None:
    reply = infer_formed(sending)
    assert reply.output == '{"names":["lamp","lighthouse","keeper"]}'
    assert reply.finish_reason == "stop"
    assert (reply.input_tokens > estimated_tokens("Do it." + TEXT)) is (sending != "native")


@pytest.mark.parametrize("text", ["", " \n", "{", "{}\n\n{", '{"a":1}', "x\x00y", "\ud800", "{}"])
def test_any_text_fills_a_form(text: str) -> None:
    formed(TREE, text).encode()
    made(of(names=NAMES, when={"type": "string", "format": "date"}), text)


@pytest.mark.parametrize(
    "schema",
    [
        of(n={"type": "integer", "minimum": 7, "exclusiveMaximum": 8}),
        of(n={"type": "integer", "exclusiveMinimum": 100}),
        of(n={"type": "integer", "maximum": -3}),
        of(n={"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.2}),
        of(n={"type": "number", "exclusiveMaximum": 5}),
        of(n={"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 50}),
        of(n={"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 1, "maximum": 50}),
        of(n={"minimum": -5, "maximum": -3}),
        of(n={"const": None}),
        of(n={"enum": [[1], {"a": "b"}]}),
        of(n={"type": "string", "minLength": 2_000}),
        of(n={"type": "string", "maxLength": 0}),
        of(n={"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}),
        of(n={"anyOf": [of(a={"const": 1}), of(a={"const": 2})]}),
        {"type": "object"},
        {"type": "object", "properties": {"a/b~": {"$ref": "#/properties/c~1"}, "c/": NAMES}, "required": ["a/b~"]},
    ],
)
def test_usual_schemas_are_met(schema: dict[str, Any]) -> None:
    made(schema)


DOUBLING: dict[str, Any] = {
    f"n{number}": of(a={"$ref": f"#/$defs/n{number + 1}"}, b={"$ref": f"#/$defs/n{number + 1}"}) for number in range(30)
}


@pytest.mark.parametrize(
    "schema",
    [
        of(n={"type": "string", "minLength": 2, "maxLength": 1}),
        of(n={"type": "string", "minLength": 10**9}),
        of(n={**NAMES, "minItems": 10**9}),
        of(n={"$ref": "#"}),
        {**of(n={"$ref": "#/$defs/n0"}), "$defs": {**DOUBLING, "n30": NAMES}},
    ],
)
def test_what_cannot_be_met_is_an_empty_object(schema: dict[str, Any]) -> None:
    with counted(structured) as steps:
        assert formed(schema, TEXT) == "{}"
    assert steps.lines < 500_000
