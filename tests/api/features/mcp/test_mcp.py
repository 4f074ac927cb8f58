"""The Model Context Protocol: its messages in both revisions, and the tools."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from src.features.mcp.protocol import LEGACY, MODERN
from src.features.mcp.tools import PAGE_CHARS, TOOLS
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import Finish
from tests.support.api_bench import TEXTS, ApiBench, bearer, data, object_of
from tests.support.batches import create, lines
from tests.support.sqlite_d1 import NETWORK_LOST

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
}
OURS = "http://localhost:8787"
PEOPLE = object_of(people=TEXTS)


def modern(bench: ApiBench, method: str, params: Mapping[str, Any] | None = None, **headers: str) -> Reply:
    """Send a request of the newer revision, whose headers equal its body unless the test gives others."""
    params = dict(params or {})
    sent = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if "name" in params:
        sent["mcp-name"] = params["name"]
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"_meta": META, **params}}
    return bench.call("POST", "/mcp", message, {name: value for name, value in sent.items() if value})


def legacy(bench: ApiBench, method: str, params: object = None, **headers: str) -> Reply:
    message = {"jsonrpc": "2.0", "id": "one", "method": method} | ({} if params is None else {"params": params})
    return bench.call("POST", "/mcp", message, {name.replace("_", "-"): value for name, value in headers.items()})


def texts(bench: ApiBench, name: str, headers: Mapping[str, str] | None = None, **arguments: Any) -> list[str]:
    reply = modern(bench, "tools/call", {"name": name, "arguments": arguments}, **(headers or {}))
    result = data(reply)["result"]
    assert not result["isError"], result
    return [part["text"] for part in result["content"]]


def tool(bench: ApiBench, name: str, **arguments: Any) -> Any:
    (text,) = texts(bench, name, **arguments)
    return json.loads(text)


def refused(bench: ApiBench, name: str, **arguments: Any) -> str:
    result = data(modern(bench, "tools/call", {"name": name, "arguments": arguments}))["result"]
    assert result["isError"]
    (part,) = result["content"]
    return str(part["text"])


def error(reply: Reply, status: int) -> Any:
    assert reply.status == status, reply
    return data(reply)["error"]


def complete(bench: ApiBench, task_id: str, *outputs: str) -> None:
    claim = bench.claim(task_id)
    bench.work(claim, dict(enumerate(outputs)), Finish(bench.settings.retention_ms))


@pytest.fixture
def keyed() -> ApiBench:
    return ApiBench(
        settings=Settings(provider="demo", chunk_chars=10, cors_origins=frozenset({"https://app.example"})), keys=True
    )


def test_the_newer_revision_describes_itself(bench: ApiBench):
    """`server/discover` names both revisions; each result is complete and names the server."""
    result = data(modern(bench, "server/discover"))["result"]
    assert result["supportedVersions"] == [MODERN, LEGACY]
    assert result["capabilities"] == {"tools": {}}
    assert "analyse" in result["instructions"]
    listed = data(modern(bench, "tools/list"))["result"]
    for one in (result, listed):
        assert (one["resultType"], one["cacheScope"], one["ttlMs"] > 0) == ("complete", "public", True)
        assert one["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "onceover"


@pytest.mark.parametrize("asked", [LEGACY, "2024-11-05", "2099-01-01"])
def test_the_older_revision_is_what_initialize_gives(bench: ApiBench, asked: str):
    """A client that asks for any revision by `initialize` is offered the one that has `initialize`."""
    reply = legacy(bench, "initialize", {"protocolVersion": asked, "capabilities": {}, "clientInfo": {}})
    result = data(reply)["result"]
    assert (result["protocolVersion"], result["serverInfo"]["name"]) == (LEGACY, "onceover")
    assert "mcp-session-id" not in {name.lower() for name in reply.headers}
    assert data(legacy(bench, "ping"))["result"] == {}
    listed = data(legacy(bench, "tools/list", mcp_protocol_version=LEGACY))["result"]["tools"]
    assert [one["name"] for one in listed] == ["analyse", "wait", "result", "cancel", "list"]


def test_a_notification_gets_no_answer(bench: ApiBench):
    """A message without an id gets 202 in both revisions, and nothing else."""
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    for headers in ({}, {"mcp-protocol-version": LEGACY}, {"mcp-protocol-version": MODERN}):
        reply = bench.call("POST", "/mcp", message, headers)
        assert (reply.status, reply.body) == (202, "")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_are_refused(bench: ApiBench, method: str):
    """There is no stream to open and no session to end."""
    reply = bench.call(method, "/mcp")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST, OPTIONS")


def test_an_unknown_revision_is_refused_with_those_that_are_known(bench: ApiBench):
    """In the header or in the body, and for a notification too."""
    for reply in (
        legacy(bench, "tools/list", mcp_protocol_version="2025-06-18"),
        legacy(bench, "tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": ["2026"]}}),
        bench.call("POST", "/mcp", {"jsonrpc": "2.0", "method": "x"}, {"mcp-protocol-version": "2025-06-18"}),
    ):
        refusal = error(reply, 400)
        assert refusal["code"] == -32022
        assert refusal["data"]["supported"] == [MODERN, LEGACY]
    assert refusal["data"]["requested"] == "2025-06-18"


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp_protocol_version": ""},
        {"mcp_protocol_version": LEGACY},
        {"mcp_method": ""},
        {"mcp_method": "tools/list"},
        {"mcp_name": ""},
        {"mcp_name": "cancel"},
    ],
)
def test_headers_equal_the_body(bench: ApiBench, headers: dict[str, str]):
    """A header that is missing or differs from the body is refused, since an intermediary may route by it."""
    reply = modern(bench, "tools/call", {"name": "list", "arguments": {}}, **headers)
    assert error(reply, 400)["code"] == -32020
    assert data(reply)["id"] == 7


@pytest.mark.parametrize("missing", sorted(META)[:1] + sorted(META)[2:])
def test_a_request_states_revision_and_capabilities(bench: ApiBench, missing: str):
    """The newer revision needs both in each request."""
    meta = {name: value for name, value in META.items() if name != missing}
    assert error(modern(bench, "tools/list", {"_meta": meta}), 400)["code"] == -32602


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": True, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1.5, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)
def test_what_is_no_message_is_refused(bench: ApiBench, message: object):
    """A body that is no request and no notification of JSON-RPC 2.0."""
    assert error(bench.call("POST", "/mcp", message), 400)["code"] == -32600


def test_a_batch_of_messages_is_refused(bench: ApiBench):
    """Both revisions have one message a request."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    reply = bench.call("POST", "/mcp", [message, message])
    assert (reply.status, data(reply)["code"]) == (400, "malformed_body")


def test_a_large_body_is_refused(bench: ApiBench):
    reply = bench.call("POST", "/mcp", b'{"jsonrpc": "2.0", "params": "' + b"x" * 20_000_000)
    assert (reply.status, data(reply)["code"]) == (413, "too_large")


def test_unknown_methods_and_tools_are_refused(bench: ApiBench):
    """In the older revision a valid message gets 200, in the newer one the status says what is wrong."""
    assert error(legacy(bench, "resources/list"), 200)["code"] == -32601
    assert error(legacy(bench, "server/discover"), 200)["code"] == -32601
    assert error(modern(bench, "initialize"), 404)["code"] == -32601
    for params in ({"name": "erase", "arguments": {}}, {"name": "list", "arguments": []}):
        assert error(legacy(bench, "tools/call", params), 200)["code"] == -32602
        assert error(modern(bench, "tools/call", params), 400)["code"] == -32602


def test_pages_of_foreign_origins_are_refused(keyed: ApiBench):
    """A page of the deployment itself and of `CORS_ORIGINS` may call, and no other, whatever its key."""
    secret = bearer(keyed.make_key())
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for origin, status in (
        *((OURS, 200), ("https://app.example", 200)),
        *(("https://evil.example", 403), ("null", 403), ("http://localhost:1", 403), ("https://localhost:8787", 403)),
    ):
        reply = keyed.call("POST", "/mcp", message, secret | {"origin": origin})
        assert reply.status == status, origin
        keyless = keyed.call("POST", "/mcp", message, {"origin": origin})
        assert keyless.status == {200: 401}.get(status, status), origin
    assert data(reply)["code"] == "foreign_origin"


def test_keys_are_those_of_the_api(keyed: ApiBench):
    keyed.make_key()
    short = keyed.make_key(valid_ms=1000)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert keyed.call("POST", "/mcp", message).status == 401
    assert keyed.call("POST", "/mcp", message, bearer(short)).status == 200
    keyed.pass_seconds(2)
    expired = keyed.call("POST", "/mcp", message, bearer(short))
    assert (expired.status, expired.headers["WWW-Authenticate"]) == (401, "Bearer")
    ours, theirs = bearer(keyed.make_key()), bearer(keyed.make_key(tenant="theirs"))
    (text,) = texts(keyed, "analyse", ours, input="a text")
    task_id = json.loads(text)["id"]
    for name in ("wait", "result", "cancel"):
        reply = modern(keyed, "tools/call", {"name": name, "arguments": {"id": task_id}}, **theirs)
        assert data(reply)["result"]["isError"]
        assert "not_found" in reply.body
    assert json.loads(texts(keyed, "list", theirs)[0])["tasks"] == []


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_needs_its_scope(keyed: ApiBench, name: str):
    needed = Scope.WRITE if name in {"analyse", "cancel"} else Scope.READ
    for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN):
        reply = modern(keyed, "tools/call", {"name": name}, **bearer(keyed.make_key(scope)))
        if scope is needed:
            assert reply.status == 200
        else:
            assert reply.status == 403
            assert f'scope="{needed}"' in reply.headers["WWW-Authenticate"]


def test_a_key_without_read_sees_no_text(keyed: ApiBench):
    writer, admin = bearer(keyed.make_key(Scope.WRITE)), bearer(keyed.make_key())
    made = texts(keyed, "analyse", writer, input="canary", idempotencyKey="one")
    assert "canary" not in str(made)
    assert "canary" in str(texts(keyed, "analyse", admin, input="canary", idempotencyKey="one"))
    assert "canary" not in str(texts(keyed, "cancel", writer, id=json.loads(made[0])["id"]))


def test_from_the_submission_to_the_result(bench: ApiBench):
    made = tool(bench, "analyse", input="one\n\ntwo\n\nthree and four", instructions="Repeat.")
    assert (made["status"], made["progress"]["total"]) == ("pending", 3)
    assert "wait" in made["next"]
    assert " s of" in made["next"]
    assert "wait" in json.loads(refused(bench, "result", id=made["id"]))["next"]
    complete(bench, made["id"], "a", "b", "c")
    done = tool(bench, "wait", id=made["id"])
    assert (done["status"], done["next"]) == ("completed", "Call result with this id.")
    page, about = texts(bench, "result", id=made["id"])
    assert page == "a\n\nb\n\nc"
    assert json.loads(about) == {"id": made["id"], "page": 1, "next": "This is the last page."}
    assert "before page 2" in refused(bench, "result", id=made["id"], page=2)


def test_a_lost_answer_costs_nothing(bench: ApiBench):
    first = tool(bench, "analyse", input="a text", idempotencyKey="one")
    assert tool(bench, "analyse", input="a text", idempotencyKey="one")["id"] == first["id"]
    again = bench.call("POST", "/api/tasks", {"input": "a text"}, {"idempotency-key": "one"})
    assert (again.status, data(again)["id"]) == (202, first["id"])
    assert "idempotency_mismatch" in refused(bench, "analyse", input="another", idempotencyKey="one")
    assert "idempotencyKey" in refused(bench, "analyse", input="a text", idempotencyKey="a key")
    assert len(tool(bench, "list")["tasks"]) == 1


def test_a_wait_ends_in_time(bench: ApiBench):
    made = tool(bench, "analyse", input="a text")
    began = bench.loop.time()
    assert tool(bench, "wait", id=made["id"])["status"] == "pending"
    assert 24 < bench.loop.time() - began < 29
    began = bench.loop.time()
    assert tool(bench, "wait", id=made["id"], seconds=0)["status"] == "pending"
    assert bench.loop.time() - began < 1
    assert "seconds" in refused(bench, "wait", id=made["id"], seconds=26)


def test_a_slow_database_ends_a_call_in_time(bench: ApiBench):
    """No call lasts 30 s, however slow the database is."""
    made = tool(bench, "analyse", input="a text")
    bench.database.seconds = 9.0
    began = bench.loop.time()
    assert modern(bench, "tools/call", {"name": "wait", "arguments": {"id": made["id"]}}).status in {200, 503}
    assert bench.loop.time() - began < 30


def test_a_failing_database_is_a_problem_of_the_api(bench: ApiBench):
    bench.database.fail(NETWORK_LOST, times=10)
    reply = modern(bench, "tools/call", {"name": "list", "arguments": {}})
    assert (reply.status, data(reply)["code"]) == (503, "database_unavailable")
    assert "Retry-After" in reply.headers


def test_a_task_is_cancelled(bench: ApiBench):
    made = tool(bench, "analyse", input="a text")
    assert tool(bench, "cancel", id=made["id"])["status"] == "cancelled"
    assert tool(bench, "cancel", id=made["id"])["status"] == "cancelled"
    assert json.loads(refused(bench, "result", id=made["id"]))["status"] == "cancelled"
    other = tool(bench, "analyse", input="a text")
    complete(bench, other["id"], "a")
    assert "already_terminal" in refused(bench, "cancel", id=other["id"])


def test_tasks_are_listed_in_pages(bench: ApiBench):
    ids = [tool(bench, "analyse", input=f"text {number}")["id"] for number in range(3)]
    complete(bench, ids[1], "an output")
    first = tool(bench, "list", limit=2)
    assert [one["id"] for one in first["tasks"]] == [ids[2], ids[1]]
    assert "result" not in first["tasks"][1]
    rest = tool(bench, "list", limit=2, cursor=first["nextCursor"])
    assert ([one["id"] for one in rest["tasks"]], rest["nextCursor"]) == ([ids[0]], None)
    assert [one["id"] for one in tool(bench, "list", status="completed")["tasks"]] == [ids[1]]
    assert "cursor" in refused(bench, "list", cursor="x")
    assert "status" in refused(bench, "list", status="done")


def test_arguments_are_checked_as_in_the_api(bench: ApiBench):
    """A model learns which argument is wrong. Nothing is accepted."""
    for said, arguments in (
        ("input: is required", {}),
        ("input", {"input": " "}),
        ("surprise: is not a known field", {"input": "x", "surprise": 1}),
        ("temperature", {"input": "x", "temperature": 3}),
        ("MAX_INPUT_BYTES", {"input": "x" * 1_000_001}),
        ("maxModelCalls: must be at least", {"input": "one\n\ntwo\n\nthree", "maxModelCalls": 1}),
    ):
        assert said in refused(bench, "analyse", **arguments)
    assert "not_found" in refused(bench, "wait", id="x")
    assert "id: is required" in refused(bench, "cancel")
    assert bench.count_rows() == 0


def test_a_limit_says_when_to_try_again(bench: ApiBench):
    bench.limit(tasks_in_flight_most=1)
    tool(bench, "analyse", input="a text")
    assert "Try again in" in refused(bench, "analyse", input="another")


@pytest.mark.parametrize("at_once", [limits.ANSWER_CHARS_AT_ONCE, 1000], ids=["small", "large"])
@pytest.mark.parametrize(
    "fields", [{}, {"reduce": "none"}, {"outputSchema": PEOPLE}, {"outputSchema": PEOPLE, "reduce": "none"}]
)
def test_a_result_of_ten_pages(monkeypatch: pytest.MonkeyPatch, bench: ApiBench, fields: Any, at_once: int):
    """The pages together are the result, each of at most 50,000 characters, however the result is stored."""
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", at_once)
    monkeypatch.setattr(limits, "VALUE_CHARS_AT_ONCE", at_once)
    made = tool(bench, "analyse", input="one\n\ntwo\n\nthree and four", **fields)
    filler = ["a" * 150_000, 'b"ö\n' * 37_500, "c" * 160_000]
    outputs = [json.dumps({"people": [one]}, ensure_ascii=False, separators=(",", ":")) for one in filler]
    complete(bench, made["id"], *(outputs if "outputSchema" in fields else filler))
    pages: list[str] = []
    more = True
    while more:
        page, about = texts(bench, "result", id=made["id"], page=len(pages) + 1)
        assert 0 < len(page) <= PAGE_CHARS
        pages.append(page)
        more = "More follows" in about
    text = "".join(pages)
    result = data(bench.call("GET", f"/api/tasks/{made['id']}"))["result"]
    if fields == {}:
        assert len(pages) == 10
        assert text == result["output"] == "\n\n".join(filler)
    else:
        assert json.loads(text) == result.get("value", result["output"])
    assert "before page" in refused(bench, "result", id=made["id"], page=len(pages) + 1)


def test_a_batch_has_no_result_here(bench: ApiBench):
    batch = create(bench, lines(1))
    task_id = str(batch["onceover"]["task"]).rpartition("/")[2]
    assert json.loads(refused(bench, "result", id=task_id))["status"] == "pending"


def test_what_a_model_reads_about_the_tools(bench: ApiBench):
    for one in data(modern(bench, "tools/list"))["result"]["tools"]:
        assert len(one["description"]) > 100
        assert one["inputSchema"]["type"] == "object"
        assert not {"oneOf", "anyOf", "allOf"} & one["inputSchema"].keys()
        assert one["annotations"]["readOnlyHint"] == (one["name"] in {"wait", "result", "list"})
        assert one["annotations"]["destructiveHint"] == (one["name"] == "cancel")
    submitted = data(bench.call("GET", "/openapi.json"))["components"]["schemas"]["NewTaskFields"]["properties"]
    (analyse, *_) = data(modern(bench, "tools/list"))["result"]["tools"]
    assert analyse["inputSchema"]["properties"].keys() == submitted.keys() | {"idempotencyKey"}
