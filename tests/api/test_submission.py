"""POST /api/tasks: which requests are accepted, and how others are refused. A refusal stores nothing."""

import asyncio
import json
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.submission import DEFAULT_INSTRUCTIONS
from tests.support.api_bench import ApiBench, BenchRequest, data

URL = "http://localhost:8787/api/tasks"
SMALL = Settings(provider="demo", chunk_chars=10, input_bytes=30)


def refused(bench: ApiBench, body: object, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    reply = bench.call("POST", "/api/tasks", body)
    problem = data(reply)
    assert (reply.status, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]]
        assert f"{field}: " in problem["detail"]
    assert bench.count_rows() == 0
    assert not bench.senders[0].sent
    assert isinstance(problem, dict)
    return problem


def test_smallest_request(bench: ApiBench) -> None:
    reply = bench.call("POST", "/api/tasks", {"input": "one\n\ntwo\n\nthree and four"})
    task = data(reply)
    path = f"/api/tasks/{task['id']}"
    assert reply.status == 202
    assert reply.headers["Content-Type"] == "application/json"
    assert (reply.headers["Location"], reply.headers["Retry-After"]) == (path, "1")
    expected = {
        "id": task["id"],
        "name": "one",
        "status": "pending",
        "terminal": False,
        "route": "queue",
        "progress": {"total": 3, "completed": 0, "failed": 0, "truncated": 0},
        "waitingFor": {"reason": "queued", "until": None, "ahead": None},
        "result": None,
        "error": None,
        "usage": {"modelCalls": 0, "minimumCalls": 3, "inDoubt": 0, "inputTokens": 0, "outputTokens": 0}
        | {"cachedInputTokens": 0, "cost": None},
        "attempts": 0,
        "metadata": {},
        "createdAt": "2026-09-21T14:13:20.000Z",
        "startedAt": None,
        "finishedAt": None,
        "expiresAt": None,
        "deadlineAt": None,
        "maxModelCalls": None,
        "maxCost": None,
        "links": {"self": path} | {name: f"{path}/{name}" for name in ("chunks", "cancel", "retry", "events")},
        "request": {
            "model": "demo-1",
            "instructions": DEFAULT_INSTRUCTIONS,
            "reduce": "concat",
            "chunk": {"maxChars": 10, "overlapChars": 0},
            "maxOutputTokens": None,
            "temperature": None,
            "modelOptions": {},
            "inputCharacters": 24,
        },
        "lastError": None,
        "estimatedFinishAt": None,
        "calls": {"announcedAt": None, "out": [], "inDoubt": []},
    }
    assert json.dumps(task) == json.dumps(expected)
    assert bench.senders[0].sent == [task["id"]]


def test_fresh_task_reads_the_same(bench: ApiBench) -> None:
    task = bench.submit(reduce="merge", model="other", metadata={"who": "我", "n": [1, 2.5, None, True]})
    assert data(bench.call("GET", task["links"]["self"])) == task


def test_largest_request(bench: ApiBench) -> None:
    metadata = {"k": "é" * ((limits.METADATA_BYTES_MOST - len('{"k":""}')) // 2)}
    body = {
        "input": "字" * 333_333 + "x",  # 1,000,000 bytes
        "instructions": "\U0001f600" * limits.INSTRUCTIONS_CHARS_MOST,
        "reduce": "none",
        "chunk": {"maxChars": limits.CHUNK_CHARS_MOST, "overlapChars": limits.CHUNK_CHARS_MOST - 1},
        "model": "m" * limits.MODEL_CHARS_MOST,
        "metadata": metadata,
    }
    reply = bench.call("POST", "/api/tasks", json.dumps(body, ensure_ascii=False).encode())
    assert reply.status == 202
    assert data(reply)["metadata"] == metadata
    (row,) = bench.database.rows("SELECT * FROM tasks JOIN texts ON task_id = id")
    assert [row[name] for name in ("input", "instructions", "reduce", "model", "overlap")] == [
        body["input"],
        body["instructions"],
        "none",
        body["model"],
        limits.CHUNK_CHARS_MOST - 1,
    ]


@pytest.mark.parametrize(
    "text", ["\t x\u3000", "\ufeff.", "\x01\x7f", "\u0301", "\u0600", "e\u0301", "\U0001f468\u200d\U0001f469"]
)
def test_odd_but_sound_input(bench: ApiBench, text: str) -> None:
    assert bench.submit(text)["progress"]["total"] == 1


def test_whole_numbers_in_any_spelling(bench: ApiBench) -> None:
    raw = b'{"input": "0123456789", "chunk": {"maxChars": 6.0, "overlapChars": 2e0}}'
    reply = bench.call("POST", "/api/tasks", raw)
    assert (reply.status, data(reply)["progress"]["total"]) == (202, 2)


@pytest.mark.parametrize(
    "metadata",
    [
        {"big": 2**80, "negative": -(2**63) - 1, "float": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308},
        {"": "", "z": 1, "a": {"nested": [[[{}]]], "none": None, "yes": True}},
        {"文": "\U0001f600", "quote": '"\\/\b\f\n\r\t', "del": "\x7f", "sep": "\u2028"},
    ],
)
def test_metadata_is_echoed(bench: ApiBench, metadata: dict[str, Any]) -> None:
    task = bench.submit("text", metadata=metadata)
    later = data(bench.call("GET", task["links"]["self"]))
    assert json.dumps(task["metadata"]) == json.dumps(later["metadata"]) == json.dumps(metadata)


NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5_000)
MALFORMED = [
    *(b"", b" ", b"{", b"not json", b'{"input": "x"', b'{"input": "x"} {}', b"{'input': 'x'}", b'{"input": "x",}'),
    *(b'{"input": "%s"}' % text for text in (b"x\n", b"\\x", b"\xff", b"\xed\xa0\x80")),  # the last: a surrogate
    *('{"input": "x"}'.encode("utf-16"), b'\xef\xbb\xbf{"input": "x"}'),
    *(b"[]", b'"text"', b"null", b"1", b'[{"input": "x"}]'),
    *(b'{"input": "x", "metadata": {"n": %s}}' % number for number in NUMBERS),
    *(b'{"input": "x", "input": "y"}', b'{"input": "x", "metadata": {"a": 1, "a": 1}}'),
    b'{"input": "x", "metadata": {"a": %s%s}}' % (b"[" * 103, b"]" * 103),
    *(b"[" * 100_000, b'{"a":' * 100_000),
    b'{"input": "x", "metadata": {"a": [%s]}}' % b",".join([b"1"] * 30_000),
    b'"' + b'\\"' * 50_000,
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_malformed_body(bench: ApiBench, raw: bytes) -> None:
    refused(bench, raw, 400, "malformed_body")


def test_nesting_up_to_the_limit(bench: ApiBench) -> None:
    raw = b'{"input": "%s", "metadata": {"a": %s%s}}' % (b"[" * 1_000, b"[" * 102, b"]" * 102)
    assert bench.call("POST", "/api/tasks", raw).status == 202


# For each field, values that are refused under its name.
INVALID: dict[str, list[object]] = {
    "input": [
        *(None, "", " \t\r\n\u3000\u2003\u0085", "\u200b", "\ufeff\n\u2060\u00ad", "\u3164\ufe0f\U000e0020"),
        *(1, True, ["x"], {"text": "x"}, "a\0b", "\ud800", "\udc00\ud800"),
    ],
    "instructions": ["", 1, "i" * (limits.INSTRUCTIONS_CHARS_MOST + 1), "\0", "\udfff"],
    "reduce": ["sum", "CONCAT", "", 1, ["concat"]],
    "chunk": [5, []],
    "chunk.maxChars": [0, -1, 10**9, limits.CHUNK_CHARS_MOST + 1, 10**30, 5.5, "5", True],
    "chunk.overlapChars": [-1, False, 10],  # the deployment's default size of chunks is 10 in this test
    "chunk.max_chars": [5],
    "model": ["", 5, "a\nb", "\ud800", "m" * (limits.MODEL_CHARS_MOST + 1)],
    "metadata": [
        *("text", [1], {"k": "v" * 4_089}, {"k": "é" * 2_045}),  # the last two have 4,097 and 4,098 bytes
        *({"k": "\0"}, {"\0": 1}, {"k": [{"deep": "\ud83d"}]}, {"\udc00": 1}),
    ],
}
TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({"chunk": {"overlapChars": 5, "maxChars": 5}}, "chunk.overlapChars"),
    ({"chunk": {"overlapChars": 6, "maxChars": 5}}, "chunk.overlapChars"),
    ({"chunk": {"maxChars": 5, "size": 5}}, "chunk.size"),
    ({"input": "x" * (limits.CHUNKS_MOST + 1), "chunk": {"maxChars": 1}}, "chunk.maxChars"),
    ({"input": "x" * 15_000, "chunk": {"maxChars": 10_002, "overlapChars": 10_001}}, "chunk.overlapChars"),
    ({"input": "x" * 2_000, "chunk": {"maxChars": 1}, "instructions": "i" * 12_501}, "instructions"),
    *(({name: 1}, name) for name in ("priority", "Input", "self", "__proto__")),
    *(({name: 1}, shown) for name, shown in (("\ud800", "\\ud800"), ("a\0b", "a\\x00b"), ("new\nline", "new\\nline"))),
]


def with_value(field: str, value: object) -> dict[str, object]:
    outer, _, inner = field.partition(".")
    return {outer: {inner: value} if inner else value}


@pytest.mark.parametrize(
    ("fields", "field"),
    [*((with_value(field, value), field) for field, values in INVALID.items() for value in values), *TOGETHER],
    ids=lambda value: ascii(value)[:60],
)
def test_invalid_field(bench: ApiBench, fields: dict[str, object], field: str) -> None:
    refused(bench, {"input": "x"} | fields, 422, "invalid_fields", field)


def test_no_input(bench: ApiBench) -> None:
    refused(bench, {}, 422, "invalid_fields", "input")


def test_problem_to_the_letter(bench: ApiBench) -> None:
    assert refused(bench, {"input": "x", "colour": "red"}, 422, "invalid_fields") == {
        "type": "urn:onceover:problem:invalid_fields",
        "title": "Some fields have invalid values",
        "status": 422,
        "detail": "colour: is not a known field",
        "code": "invalid_fields",
        "errors": [{"field": "colour", "message": "is not a known field"}],
        "requestId": "bench",
    }


def test_refusals_quote_nothing(bench: ApiBench) -> None:
    secret = "canary" * 50
    for body in (
        {"input": secret + "\0"},
        {"input": [secret]},
        {"input": "x", "instructions": {"x": secret}},
        {"input": "x", "reduce": secret},
        {"input": "x", "model": secret + "\n"},
        {"input": "x", "metadata": secret},
        {"input": "x", secret: 1},
        (json.dumps({"input": secret}) + "x").encode(),
    ):
        reply = bench.call("POST", "/api/tasks", body)
        assert 400 <= reply.status < 500
        assert "canary" * 11 not in reply.body
        assert "canary" not in "".join(bench.log_lines)


def test_errors_are_bounded(bench: ApiBench) -> None:
    problem = refused(bench, {f"field{number}": 1 for number in range(1_000)}, 422, "invalid_fields")
    assert len(problem["errors"]) == 20


@pytest.mark.parametrize(
    ("text", "status"), [("x" * 30, 202), ("字" * 10, 202), ("x" * 31, 413), ("字" * 10 + "x", 413)]
)
def test_input_size(text: str, status: int) -> None:
    bench = ApiBench(settings=SMALL)
    if status == 202:
        assert bench.submit(text)["status"] == "pending"
    else:
        assert "MAX_INPUT_BYTES" in refused(bench, {"input": text}, 413, "too_large", "input")["detail"]


def test_escaped_input_of_full_size() -> None:
    bench = ApiBench(settings=Settings(provider="demo", input_bytes=300_000))
    body = {"input": "\x01" * 300_000, "instructions": "é" * limits.INSTRUCTIONS_CHARS_MOST}
    assert bench.call("POST", "/api/tasks", body).status == 202


MOST_BYTES = SMALL.input_bytes * limits.BODY_ESCAPE_FACTOR + limits.BODY_OVERHEAD_BYTES


@pytest.mark.parametrize("length", [None, "10", "0", "-1", "x", "１０", str(MOST_BYTES)])
def test_lying_length(length: str | None) -> None:
    bench = ApiBench(settings=SMALL)
    headers = {} if length is None else {"content-length": length}
    request = BenchRequest("POST", URL, headers, b'{"input": "' + b"x" * 10 * MOST_BYTES)
    assert data(bench.send(request))["code"] == "too_large"
    assert MOST_BYTES < request.read_bytes <= MOST_BYTES + 65_536
    assert bench.count_rows() == 0


@pytest.mark.parametrize("length", [str(MOST_BYTES + 1), "9" * 15, "9" * 10_000])
def test_announced_length(length: str) -> None:
    bench = ApiBench(settings=SMALL)
    request = BenchRequest("POST", URL, {"content-length": length}, b'{"input": "x"}')
    assert data(bench.send(request))["code"] == "too_large"
    assert request.read_bytes == 0


JSON = (None, "", "application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8")
OTHER = ("text/plain", "application/jsonx", "text/html; application/json")


@pytest.mark.parametrize(
    ("media_type", "status"),
    [*((one, 202) for one in (*JSON, "application/x-www-form-urlencoded")), *((one, 415) for one in OTHER)],
)
def test_media_type(bench: ApiBench, media_type: str | None, status: int) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    request = BenchRequest("POST", URL, headers, b'{"input": "x"}')
    reply = bench.send(request)
    assert reply.status == status
    if status == 415:
        assert data(reply)["code"] == "unsupported_media_type"
        assert (request.read_bytes, bench.count_rows()) == (0, 0)


@pytest.mark.parametrize(("encoding", "status"), [("identity", 202), ("gzip", 415), ("br", 415), ("bogus", 415)])
def test_content_encoding(bench: ApiBench, encoding: str, status: int) -> None:
    request = BenchRequest("POST", URL, {"content-encoding": encoding}, b'{"input": "x"}')
    assert (bench.send(request).status, bool(request.read_bytes)) == (status, status == 202)


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?dryRun=true"])
def test_others_have_turns_while_a_long_text_is_cut(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    turns: list[float] = []
    sleep = asyncio.sleep

    async def turn(seconds: float) -> None:
        turns.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", turn)
    body = {"input": "word " * 190_000, "chunk": {"maxChars": 1_000}}
    assert bench.call("POST", path, body).status in {200, 202}
    real = [seconds for seconds in turns if seconds >= limits.TIMER_SECONDS_LEAST]  # a shorter delay is a microtask
    assert len(real) > 950_000 // limits.WORK_CHARS_AT_ONCE


def test_the_answer_does_not_wait_for_the_dispatch(bench: ApiBench) -> None:
    sent, calls = asyncio.Event(), bench.database.batches

    async def send(_task_key: object, _delay: float) -> None:
        await asyncio.sleep(3.0)
        sent.set()

    bench.senders[0].send = send  # type: ignore[assignment]
    bench.submit()
    assert (bench.loop.time(), bench.database.batches - calls, sent.is_set()) == (0.0, 1, False)
    bench.settle()
    assert (bench.loop.time(), sent.is_set()) == (3.0, True)


@pytest.mark.parametrize("route", list(Route))
def test_routes_show_in_the_task(route: Route) -> None:
    bench = ApiBench(routes=[route])
    assert bench.submit()["route"] == route


@pytest.mark.parametrize("name", ["instructions", "reduce", "chunk", "model", "metadata"])
def test_null_counts_as_absent(bench: ApiBench, name: str) -> None:
    assert bench.submit("text", **{name: None})["metadata"] == {}
    assert bench.submit("text", chunk={"maxChars": None, "overlapChars": None})["progress"]["total"] == 1


def test_every_wrong_field_is_named(bench: ApiBench) -> None:
    body = {"reduce": "x", "chunk": {"maxChars": 0, "overlapChars": -1}, "model": "", "metadata": 1, "other": 1}
    problem = refused(bench, body, 422, "invalid_fields")
    named = {error["field"] for error in problem["errors"]}
    assert named == {"input", "reduce", "chunk.maxChars", "chunk.overlapChars", "model", "metadata", "other"}
