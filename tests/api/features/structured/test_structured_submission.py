"""Fields that decide the form of outputs: which values are accepted, and which refused before a write."""

import json
from typing import Any

import pytest

from src.kernel.domain import limits
from tests.support.api_bench import TEXTS, ApiBench, data, object_of

SCHEMA = object_of(title={"type": "string"}, people=TEXTS, total={"type": "integer"})
JOIN = {"/title": "first", "/people": "union", "/total": "sum"}
LISTS = object_of(people=TEXTS)

ENDS = ("onChunkFailure", "maxGapShare")


def shown(bench: ApiBench, **fields: Any) -> dict[str, Any]:
    """Submit, and return those fields of structured output and of gaps that the task's `request` has."""
    asked = bench.submit(**fields)["request"]
    return {name: asked[name] for name in ("outputSchema", "strict", "join", *ENDS) if name in asked}


def test_request_shows_the_fields(bench: ApiBench) -> None:
    body: dict[str, Any] = {"outputSchema": SCHEMA, "join": JOIN, "onChunkFailure": "gap", "maxGapShare": 0.2}
    task = bench.submit(**body)
    asked = body | {"strict": True}
    assert {name: task["request"].get(name) for name in asked} == asked
    assert data(bench.call("GET", task["links"]["self"])) == task
    plan = data(bench.call("POST", "/api/tasks?dryRun=true", {"input": "one\n\ntwo\n\nthree and four", **body}))
    assert plan["request"] == task["request"]


def test_fields_are_kept(bench: ApiBench) -> None:
    schema = {"type": "object", "properties": {"z": TEXTS, "a": TEXTS}}
    claim = bench.claim(bench.submit(outputSchema=schema, strict=False, reduce="merge")["id"])
    assert claim.output_schema == json.dumps(schema, separators=(",", ":"))
    assert claim.options.structure is not None
    assert not claim.options.structure.strict


def nullable(levels: int) -> dict[str, Any]:
    """Nested objects, each of them or null, as pydantic writes such schemas, have four brackets for each level."""
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(levels - 1):
        schema = object_of(a={"anyOf": [schema, {"type": "null"}]})
    return object_of(a=schema)


def test_a_deep_schema_is_judged_by_its_own_limit(bench: ApiBench) -> None:
    """Ten levels of `anyOf` are 40 brackets deep, and are accepted."""
    join = {"/a": "first"}
    assert bench.call("POST", "/api/tasks", {"input": "x", "outputSchema": nullable(10), "join": join}).status == 202
    refused = bench.call("POST", "/api/tasks", {"input": "x", "outputSchema": nullable(11), "join": join})
    (flaw,) = data(refused)["errors"]
    assert (refused.status, data(refused)["code"]) == (422, "unsupported_schema")
    assert flaw["pointer"] == "/properties/a" + "/properties/a/anyOf/0" * 9
    form = {"type": "json_schema", "name": "deep", "schema": nullable(11)}
    refused = bench.call("POST", "/v1/responses", {"input": "x", "background": True, "text": {"format": form}})
    assert (refused.status, data(refused)["error"]["code"]) == (400, "unsupported_schema")


# Schemas that are not supported, each with the pointer of the error.
UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"type": "object", "properties": {}}, ""),  # strict
    (LISTS | {"description": "x" * limits.SCHEMA_BYTES_MOST}, ""),
    (LISTS | {"title": "a\0b"}, "/title"),
    (object_of(a={"type": "string", "pattern": "^(a+)+$"}), "/properties/a/pattern"),
    (object_of(a={"oneOf": [{"type": "string"}]}), "/properties/a/oneOf"),
    (object_of(a={"$ref": "https://example.com/s"}), "/properties/a/$ref"),
    (object_of(a={"enum": ["a", "\ud800"]}), "/properties/a/enum/1"),
    (object_of(a={"/\0": 1}), "/properties/a/~1\0"),
    (object_of(a={"\udc00": 1}), "/properties/a/\ufffd"),
]
NOT_JOINABLE: list[tuple[dict[str, Any], str]] = [
    ({"outputSchema": SCHEMA}, "/title"),
    ({"outputSchema": SCHEMA, "join": JOIN | {"/more": "first"}}, "/more"),
    ({"outputSchema": SCHEMA, "join": JOIN | {"/title": "sum"}}, "/title"),
    ({"outputSchema": object_of(a={**TEXTS, "maxItems": 3})}, "/a"),
    ({"outputSchema": object_of(a={"type": "integer", "minimum": 0}), "join": {"/a": "sum"}}, "/a"),
]
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"outputSchema": []}, "outputSchema"),
    ({"outputSchema": "{}"}, "outputSchema"),
    *(({"outputSchema": LISTS, "strict": "yes"}, "strict"), ({"strict": True}, "strict"), ({"join": {}}, "join")),
    ({"outputSchema": LISTS, "join": {"/people": "both"}}, "join./people"),
    ({"outputSchema": LISTS, "join": []}, "join"),
    ({"outputSchema": LISTS, "join": {"/x" * 20_000: "first"}}, "join"),
    ({"outputSchema": LISTS, "reduce": "merge", "join": {}}, "join"),
    *(({"onChunkFailure": "skip"}, "onChunkFailure"), ({"maxGapShare": 0.5}, "maxGapShare")),
    *(({"onChunkFailure": "gap", "maxGapShare": share}, "maxGapShare") for share in (1.01, -0.01, True)),
]
REFUSED: list[tuple[dict[str, Any], str, str, str | None]] = [
    ({"outputSchema": {"type": "array"}, "strict": False}, "unsupported_schema", "outputSchema", "/type"),
    *(({"outputSchema": schema}, "unsupported_schema", "outputSchema", pointer) for schema, pointer in UNSUPPORTED),
    *((fields, "not_joinable", "join", pointer) for fields, pointer in NOT_JOINABLE),
    *((fields, "invalid_fields", field, None) for fields, field in INVALID),
]


@pytest.mark.parametrize(("fields", "code", "field", "pointer"), REFUSED, ids=lambda value: ascii(value)[:50])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?dryRun=true"])
def test_refusals(
    bench: ApiBench, path: str, fields: dict[str, Any], code: str, field: str, pointer: str | None
) -> None:
    reply = bench.call("POST", path, {"input": "x", **fields})
    problem = data(reply)
    assert (reply.status, problem["code"]) == (422, code), problem
    (error,) = problem["errors"]
    assert (error["field"], error.get("pointer")) == (field, pointer)
    assert problem["detail"].startswith(f"{field}: ")
    assert bench.count_rows() == 0
    assert not bench.senders[0].sent


def test_a_long_schema_for_many_chunks(bench: ApiBench) -> None:
    """A long schema is refused by name if the task has many chunks, since each of its calls sends the whole schema."""
    body = {"input": "x" * 2_000, "chunk": {"maxChars": 1}, "outputSchema": LISTS | {"description": "d" * 25_000}}
    problem = data(bench.call("POST", "/api/tasks", body))
    assert [error["field"] for error in problem["errors"]] == ["outputSchema"]
    formed = {"format": {"type": "json_schema", "name": "n", "schema": body["outputSchema"]}}
    onceover = {"chunk": {"maxChars": 1}}
    asked = {"background": True, "input": body["input"], "text": formed, "onceover": onceover}
    assert data(bench.call("POST", "/v1/responses", asked))["error"]["param"] == "text.format.schema"


@pytest.mark.parametrize(
    "fields",
    [
        {"outputSchema": SCHEMA, "reduce": "merge"},
        {"outputSchema": SCHEMA, "reduce": "none"},
        {"outputSchema": SCHEMA, "join": JOIN},
        {"outputSchema": {"type": "object"}, "strict": False, "reduce": "merge"},
        {"onChunkFailure": "gap", "maxGapShare": 0},
        {"onChunkFailure": "gap", "maxGapShare": 1, "reduce": "none"},
    ],
)
def test_accepted(bench: ApiBench, fields: dict[str, Any]) -> None:
    assert bench.submit(**fields)["status"] == "pending"


def test_idempotency_compares_the_fields(bench: ApiBench) -> None:
    body = {"input": "x", "outputSchema": SCHEMA, "join": JOIN, "onChunkFailure": "gap", "maxGapShare": 0.2}
    named = {"idempotency-key": "k"}
    first = bench.call("POST", "/api/tasks", body, named)
    again = bench.call("POST", "/api/tasks", body, named)
    assert data(again) == data(first)
    assert again.headers["Idempotency-Replayed"] == "true"
    for other in ({"outputSchema": SCHEMA | {"title": "t"}}, {"join": JOIN | {"/title": "last"}}, {"maxGapShare": 0.3}):
        refused = bench.call("POST", "/api/tasks", body | other, named)
        assert (refused.status, data(refused)["code"]) == (422, "idempotency_mismatch")


def test_defaults_are_shown(bench: ApiBench) -> None:
    ends = {"onChunkFailure": "fail", "maxGapShare": 0.5}
    assert shown(bench, outputSchema=LISTS) == {"outputSchema": LISTS, "strict": True, "join": {}, **ends}
    assert shown(bench, onChunkFailure="gap") == {**ends, "onChunkFailure": "gap"}
    nothing = {"outputSchema": None, "strict": None, "join": None, "onChunkFailure": None, "maxGapShare": None}
    assert shown(bench, **nothing) == shown(bench) == shown(bench, onChunkFailure="fail") == {}
