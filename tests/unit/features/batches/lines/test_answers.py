"""The lines of a batch's output file and error file."""

import json
import math
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from src.features.batches.lines.answers import output_line, refused_line, unanswered_line
from src.features.batches.lines.lines import CHAT, RESPONSES, BatchEndpoint, Line
from src.features.batches.lines.response_objects import _NEVER
from src.features.openai.shapes import ResponseView
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey

KEY = TaskKey("acme:019a0000-0000-7000-8000-000000000000")
NOW = 1_790_000_000_123
SECONDS = NOW // 1000
CHAT_LINE = Line("r-1", "m-1", {"messages": [{"role": "user", "content": "Hi"}]}, {})
RESPONSE_LINE = Line("r-1", "m-1", {"input": "Hi"}, {})
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def answer(content: object = "fine 多", reason: object = "stop", **message: object) -> dict[str, Any]:
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion",
        "created": SECONDS - 9,
        "model": "m-1-2026",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "finish_reason": reason,
                "logprobs": None,
                "message": {"role": "assistant", "content": content, "refusal": None, **message},
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def written(endpoint: BatchEndpoint, line: Line, document: dict[str, Any], place: int = 4) -> dict[str, Any]:
    text = output_line(KEY, place, endpoint, line, document, NOW)
    assert text.isascii()
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    assert found.keys() == {"id", "custom_id", "response", "error"}
    assert (found["custom_id"], found["error"], found["response"]["status_code"]) == (line.custom_id, None, 200)
    return found


def chat_body(document: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = written(CHAT, CHAT_LINE, document)["response"]["body"]
    ChatCompletion.model_validate(body)
    return body


def response_body(document: dict[str, Any], line: Line = RESPONSE_LINE) -> dict[str, Any]:
    body: dict[str, Any] = written(RESPONSES, line, document)["response"]["body"]
    Response.model_validate(body)
    return body


@pytest.mark.parametrize("lacking", [{}, {"created": 0.5, "id": 7, "model": None}, {"created": True, "id": ""}])
def test_what_an_answer_lacks_is_added(lacking: dict[str, Any]) -> None:
    body = chat_body({**lacking, "choices": [{"message": {"content": "fine"}}], "extra": 1})
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"], body["extra"]) == ("chat.completion", "m-1", 1)
    assert body["created"] == (0 if "created" in lacking and lacking["created"] == 0.5 else SECONDS)
    message = {"role": "assistant", "content": "fine", "refusal": None}
    assert body["choices"] == [{"index": 0, "logprobs": None, "finish_reason": "stop", "message": message}]


def test_ids_follow_from_the_task_and_the_place() -> None:
    lines = [output_line(KEY, 4, RESPONSES, RESPONSE_LINE, answer(), NOW) for _ in range(2)]
    assert lines[0] == lines[1]
    ids = set()
    for key, place in ((KEY, 4), (KEY, 5), (TaskKey("acne" + KEY[4:]), 4)):
        found = json.loads(output_line(key, place, RESPONSES, RESPONSE_LINE, answer(), NOW))
        body = found["response"]["body"]
        ids |= {found["id"], found["response"]["request_id"], body["id"], body["output"][0]["id"]}
    assert len(ids) == 12
    for text in (refused_line(KEY, 4, "r-1", 400, {}), unanswered_line(KEY, 4, "r-1", "batch_expired", "late")):
        assert json.loads(text)["id"] in ids


def test_a_response_is_a_whole_response() -> None:
    body = response_body(answer())
    assert Response.model_validate(body).output_text == "fine 多"
    assert (body["status"], body["incomplete_details"], body["error"]) == ("completed", None, None)
    assert (body["model"], body["created_at"], body["completed_at"]) == ("m-1-2026", SECONDS - 9, SECONDS)
    assert body["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 10,
    }
    assert response_body({"choices": [{"message": {"content": "x"}}]})["usage"] is None


def test_a_response_has_the_fields_of_other_responses() -> None:
    assert response_body(answer()).keys() == ResponseView.__annotations__.keys() - {"onceover"}
    assert set(_NEVER) < ResponseView.__annotations__.keys()


def test_a_response_repeats_its_request() -> None:
    form = {"type": "json_schema", "name": "n", "schema": SCHEMA}
    sent = {
        "input": "Hi",
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "reasoning": {"effort": "low"},
        "text": {"format": form},
    }
    unsent = {"metadata": {"a": "b"}, "user": "u", "store": False, "background": True, "safety_identifier": "s"}
    body = response_body(answer(), Line("r-1", "m-1", sent, unsent))
    assert body.items() >= {
        "instructions": "Be brief.", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.25,
        "reasoning": {"effort": "low", "summary": None}, "metadata": {"a": "b"}, "user": "u", "store": False,
        "background": True, "safety_identifier": "s",
        "text": {"format": {**form, "description": None, "strict": False}, "verbosity": "medium"},
    }.items()  # fmt: skip
    assert response_body(answer()).items() >= {
        "instructions": None, "max_output_tokens": None, "temperature": 1.0, "top_p": 1.0, "store": True,
        "reasoning": {"effort": None, "summary": None}, "metadata": {}, "user": None, "background": False,
        "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tools": [], "tool_choice": "auto",
    }.items()  # fmt: skip


def test_a_response_repeats_nothing_long() -> None:
    sent = {
        "input": "Hi",
        "instructions": "多" * 300_000,
        "text": {"format": {"type": "json_schema", "x": "y" * 30_000}},
    }
    unsent = dict.fromkeys(("prompt_cache_key", "user", "safety_identifier"), "z" * 19000)
    unsent["metadata"] = {str(n): "多" * 512 for n in range(6)}  # type: ignore[assignment]
    document = answer("多" * (limits.ANSWER_CHARS_MOST // 6 - 100))
    assert len(json.dumps(document)) < limits.ANSWER_CHARS_MOST
    text = output_line(KEY, 4, RESPONSES, Line("x" * 64, "m" * 200, sent, unsent), document, NOW)
    assert len(text) < limits.OUTPUT_LINE_CHARS_MOST
    body = json.loads(text)["response"]["body"]
    Response.model_validate(body)
    assert (body["instructions"], body["text"]["format"]) == (None, {"type": "text"})
    assert body["prompt_cache_key"] == "z" * 19_000


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        (None, "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("MAX_TOKENS", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_a_response_says_whether_it_is_complete(reason: str | None, status: str, why: str | None) -> None:
    body = response_body(answer(reason=reason))
    assert (body["status"], body["output"][0]["status"]) == (status, status)
    assert body["incomplete_details"] == (None if why is None else {"reason": why})
    assert (body["completed_at"] is None) is (status == "incomplete")


def test_a_refusal_of_the_model_is_a_part_of_the_message() -> None:
    [message] = response_body(answer(None, refusal="I cannot."))["output"]
    assert message["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    [message] = response_body(answer(None))["output"]
    assert message["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]
    parts = [{"type": "text", "text": "a"}, {"type": "other"}, {"type": "text", "text": "b"}]
    assert Response.model_validate(response_body(answer(parts))).output_text == "ab"


def test_a_refused_line_has_the_providers_answer() -> None:
    body = {"error": {"message": "too long 多", "code": "context_length_exceeded"}}
    found = json.loads(refused_line(KEY, 4, "r-1", 400, body))
    assert (found["custom_id"], found["error"]) == ("r-1", None)
    assert found["response"].items() >= {"status_code": 400, "body": body}.items()
    assert found["response"]["request_id"].startswith("req_")


def test_an_unanswered_line_says_why() -> None:
    found = json.loads(unanswered_line(KEY, 4, "r-1", "batch_expired", "The window is over."))
    assert found.items() >= {"custom_id": "r-1", "response": None}.items()
    assert found["error"] == {"code": "batch_expired", "message": "The window is over."}
    assert found["id"].startswith("batch_req_")


def test_infinite_numbers_become_null() -> None:
    document = answer()
    document["choices"][0]["logprobs"] = {"content": [{"logprob": -math.inf}, {"logprob": math.nan}, {"logprob": -0.5}]}
    found = written(CHAT, CHAT_LINE, document)["response"]["body"]["choices"][0]["logprobs"]["content"]
    assert [one["logprob"] for one in found] == [None, None, -0.5]


@pytest.mark.parametrize("document", [{}, {"choices": 7}, {"choices": []}, {"choices": [7]}, {"choices": [{}]}])
def test_an_answer_of_another_shape_is_written_all_the_same(document: dict[str, Any]) -> None:
    written(CHAT, CHAT_LINE, document)
    response_body(document)
