"""The router: paths, methods, headers of answers, CORS, errors of lower layers, request ids, and the route header."""

import asyncio
import json
import re

import pytest

from local.node import ROOT
from src.composition import CATALOGUE
from src.features.demo.demo import DemoProvider
from src.kernel.api.access.access import ON_ANSWERS, ON_PREFLIGHTS
from src.kernel.api.base.messages import ON_EVERY_ANSWER, Reply
from src.kernel.api.router import configuration_problem, handle
from src.kernel.calls.protocol import Health
from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from tests.support.api_bench import START_MS, ApiBench, BenchRequest, bearer, data, key
from tests.support.sqlite_d1 import NETWORK_LOST, OVERLOADED, When

ID = new_task_id(START_MS, b"0123456789")
ALLOWED = {
    "/api/tasks": "POST, GET, HEAD, OPTIONS",
    f"/api/tasks/{ID}": "GET, DELETE, HEAD, OPTIONS",
    f"/api/tasks/{ID}/chunks": "GET, HEAD, OPTIONS",
    f"/api/tasks/{ID}/cancel": "POST, OPTIONS",
    f"/api/tasks/{ID}/retry": "POST, OPTIONS",
    "/api/keys": "POST, GET, HEAD, OPTIONS",
    f"/api/keys/{'0' * 16}": "DELETE, OPTIONS",
    "/api/async-status": "GET, HEAD, OPTIONS",
    "/api/ai-status": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", ""]


UNKNOWN_PATHS = [
    *("", "/", "/api", "/api/", "/xapi/tasks", "/x/api/tasks", "//api/tasks", "/api//tasks", "/API/tasks"),
    *("/api%2Ftasks", "/api/async-status/", "/api/async-status.json", "/openapi.json/", "/openapi"),
    *(f"/api/tasks{rest}" for rest in ("/", "x", "%2F", ";x", "%00", "%FF")),
    *(f"/api/tasks/{ID}/{rest}" for rest in ("", "chunks/0", "Cancel")),
]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_unknown_path(bench: ApiBench, path: str) -> None:
    """Paths are compared by whole segments: a path that only begins like a path of the API is 404 for every method."""
    for method in METHODS:
        reply = bench.call(method, path)
        assert reply.status == 404
        assert method == "HEAD" or data(reply)["code"] == "not_found"


def test_percent_encoding(bench: ApiBench) -> None:
    task = bench.submit()
    request = BenchRequest("GET", f"http://h/%61pi/task%73/%30{task['id'][1:]}")
    assert bench.run(handle(request, bench.api, CATALOGUE)).status == 200


@pytest.mark.parametrize(("path", "allow"), ALLOWED.items())
@pytest.mark.parametrize("method", METHODS)
def test_methods(bench: ApiBench, path: str, allow: str, method: str) -> None:
    reply = bench.call(method, path)
    if method == "OPTIONS":
        assert (reply.status, reply.headers["Allow"], reply.body) == (204, allow, "")
    elif method not in allow.split(", "):
        assert (reply.status, reply.headers["Allow"]) == (405, allow)
        assert method == "HEAD" or data(reply)["code"] == "method_not_allowed"
    else:
        assert reply.status not in {405, 204}
        return
    assert bench.database.batches == 0


def test_head(bench: ApiBench) -> None:
    task = bench.submit()
    for path in ("/api/tasks", "/api/async-status", "/openapi.json", task["links"]["self"], task["links"]["chunks"]):
        get, head = bench.call("GET", path), bench.call("HEAD", path)
        assert (head.status, head.headers, head.body) == (get.status, get.headers, "")
    assert bench.call("HEAD", "/api/tasks?limit=x").status == 422


def test_headers_on_every_answer(bench: ApiBench) -> None:
    for reply in (
        bench.call("GET", "/api/tasks"),
        bench.call("GET", "/nowhere"),
        bench.call("PUT", "/api/tasks"),
        bench.call("OPTIONS", "/api/tasks"),
        bench.call("POST", "/api/tasks", b"x"),
        configuration_problem(ConfigurationError("X", "y")),
    ):
        assert ON_EVERY_ANSWER.items() <= reply.headers.items()
    assert ON_EVERY_ANSWER == {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Strict-Transport-Security": "max-age=31536000",
    }


DATABASE_CALLS = [
    ("POST", "/api/tasks", {"input": "x"}),
    ("GET", "/api/tasks", None),
    ("GET", f"/api/tasks/{ID}", None),
    ("GET", f"/api/tasks/{ID}?wait=1", None),
    ("DELETE", f"/api/tasks/{ID}", None),
    ("GET", f"/api/tasks/{ID}/chunks", None),
    ("POST", f"/api/tasks/{ID}/cancel", None),
    ("POST", f"/api/tasks/{ID}/retry", None),
    ("POST", "/api/keys", {}),
    ("GET", "/api/keys", None),
    ("DELETE", f"/api/keys/{'0' * 16}", None),
    *(("GET", path, None) for path in ("/api/metrics", "/api/history")),
]


@pytest.mark.parametrize(("method", "path", "body"), DATABASE_CALLS)
@pytest.mark.parametrize("message", [NETWORK_LOST, OVERLOADED])
def test_database_out_of_reach(bench: ApiBench, method: str, path: str, body: object, message: str) -> None:
    bench.database.fail(message, times=10)
    reply = bench.call(method, path, body)
    assert (reply.status, data(reply)["code"]) == (503, "database_unavailable")
    assert int(reply.headers["Retry-After"]) >= 1
    assert message not in reply.body
    assert bench.count_rows() == 0
    assert not bench.senders[0].sent


@pytest.mark.parametrize("when", ["before", "after"])
def test_database_recovers_in_time(bench: ApiBench, when: When) -> None:
    bench.database.fail(NETWORK_LOST, when)
    task = bench.submit()
    assert [row["id"] for row in bench.database.rows("SELECT id FROM tasks")] == [key(task["id"])]


@pytest.mark.parametrize(("method", "path", "body"), DATABASE_CALLS)
def test_schema_missing(method: str, path: str, body: object) -> None:
    bench = ApiBench(migrated=False)
    reply = bench.call(method, path, body)
    assert (reply.status, data(reply)["code"]) == (503, "schema_missing")
    assert "make dev" in data(reply)["detail"]
    assert "wrangler d1 migrations apply DB" in data(reply)["detail"]
    assert "Retry-After" in reply.headers


def test_database_refuses(bench: ApiBench, caplog: pytest.LogCaptureFixture) -> None:
    """Any other D1 error gets a 503 without SQL. The standard error shows where the D1 error came from."""
    bench.database.fail("D1_ERROR: CHECK constraint failed: SELECT 1 FROM secret")
    reply = bench.call("POST", "/api/tasks", {"input": "x"})
    assert (reply.status, data(reply)["code"]) == (503, "database_error")
    assert "secret" not in reply.body
    assert caplog.records[-1].name == "onceover"
    assert caplog.records[-1].exc_info is not None


class BrokenProvider(DemoProvider):
    """A stand-in for a provider, which raises errors that no provider should raise."""

    error: BaseException = KeyError("the client's text")

    async def probe(self) -> Health:
        raise self.error


def test_mistake_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    bench = ApiBench(provider=BrokenProvider())
    reply = bench.call("GET", "/api/ai-status")
    assert (reply.status, data(reply)["code"]) == (500, "internal")
    assert "text" not in reply.body
    assert "Traceback" not in reply.body
    line = json.loads(bench.log_lines[-1])
    assert (line["event"], line["error"]) == ("unexpected", "KeyError")
    assert "text" not in bench.log_lines[-1]
    assert caplog.records[-1].exc_info is not None


def test_cancellation_passes() -> None:
    provider = BrokenProvider()
    provider.error = asyncio.CancelledError()
    bench = ApiBench(provider=provider)
    with pytest.raises(asyncio.CancelledError):
        bench.call("GET", "/api/ai-status")


def test_bad_configuration() -> None:
    reply = configuration_problem(ConfigurationError("LEASE_SECONDS", "a number from 0.2 to 3600"))
    assert (reply.status, reply.headers["Content-Type"]) == (500, "application/problem+json")
    problem = data(reply)
    assert (problem["code"], problem["detail"]) == (
        "bad_configuration",
        "LEASE_SECONDS must be a number from 0.2 to 3600.",
    )
    assert configuration_problem(ConfigurationError("X", "y"), "HEAD").body == ""


@pytest.mark.parametrize("url", ["http://[", "http://h/%zz", "http://h/api/%", "\0", "x", "*"])
def test_broken_url(bench: ApiBench, url: str) -> None:
    assert bench.run(handle(BenchRequest("GET", url), bench.api, CATALOGUE)).status == 404


def test_body_is_text(bench: ApiBench) -> None:
    reply: Reply = bench.call("POST", "/api/tasks", {"input": "x", "metadata": {"name": "刘姥姥 😀"}})
    assert "刘姥姥 😀" in reply.body


CALLS = [
    ("POST", "/api/tasks", {"input": "x"}),
    ("GET", "/api/tasks", None),
    ("HEAD", "/api/tasks", None),
    ("OPTIONS", "/api/tasks", None),
    ("PUT", "/api/tasks", None),
    ("POST", "/api/tasks", {}),
    ("GET", "/nowhere", None),
    ("GET", "/openapi.json", None),
    ("GET", "/api/ai-status", None),
]


def check(reply: Reply, name: str) -> None:
    assert reply.headers["X-Request-Id"] == name
    if reply.headers.get("Content-Type") == "application/problem+json" and reply.body:
        assert data(reply)["requestId"] == name


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
@pytest.mark.parametrize("own", ["a", "job/17#!~", "x" * 128])
def test_the_callers_own_name_is_taken(bench: ApiBench, method: str, path: str, body: object, own: str) -> None:
    """A caller's X-Request-Id of 1 to 128 visible ASCII characters is returned unchanged, whatever the answer is."""
    check(bench.call(method, path, body, {"x-request-id": own}), own)


@pytest.mark.parametrize("own", ["", " ", "two words", "x" * 129, "ü", "a\tb", "a\nb"])
def test_else_a_fresh_one_is_made(bench: ApiBench, own: str) -> None:
    names = [bench.call("GET", "/nowhere", None, {"x-request-id": own}).headers["X-Request-Id"] for _ in range(2)]
    assert all(name.isalnum() and len(name) == 32 for name in names)
    assert names[0] != names[1]


def test_log_lines_carry_it(bench: ApiBench) -> None:
    bench.call("POST", "/api/tasks", {"input": "x"}, {"x-request-id": "one"})
    bench.database.fail(NETWORK_LOST, times=10)
    bench.call("GET", "/api/tasks", None, {"x-request-id": "two"})
    lines = [json.loads(line) for line in bench.log_lines]
    assert {(line["event"], line["request"]) for line in lines} >= {("accepted", "one"), ("database_trouble", "two")}
    assert {line["request"] for line in lines} == {"one", "two"}


def test_a_bad_configuration_answers_with_it() -> None:
    error = ConfigurationError("X", "y")
    check(configuration_problem(error, "GET", {"x-request-id": "mine"}), "mine")
    assert len(configuration_problem(error).headers["X-Request-Id"]) == 32


BODY = {"input": "a text"}
ALL = (Route.QUEUE, Route.DURABLE_OBJECT, Route.DIRECT)


def test_each_bound_route_can_be_chosen():
    bench = ApiBench(routes=ALL)
    for route, sender in zip(ALL, bench.senders, strict=True):
        reply = bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": route})
        bench.settle()
        assert (reply.status, data(reply)["route"]) == (202, route)
        assert sender.sent == [data(reply)["id"]]


def test_a_route_that_refuses_is_not_replaced_by_another():
    """The task waits for the sweep, so that a check of the route sees that the route did not carry it."""
    bench = ApiBench(routes=ALL)
    bench.senders[0].refuses = True
    assert bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": "queue"}).status == 202
    bench.settle()
    assert [sender.sent for sender in bench.senders] == [[], [], []]


@pytest.mark.parametrize("route", ["durable-object", "carrier pigeon", ""])
def test_a_route_that_is_not_bound_is_refused(bench: ApiBench, route: str):
    reply = bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": route})
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, "X-Onceover-Route")
    assert bench.count_rows() == 0


def test_it_needs_write_and_admin_of_the_operators_tenant(keyed: ApiBench):
    for scopes, tenant, status in (
        ((Scope.WRITE, Scope.ADMIN), "local", 202),
        ((Scope.WRITE,), "local", 403),
        ((Scope.ADMIN,), "local", 403),
        ((Scope.READ, Scope.WRITE, Scope.ADMIN, Scope.OPERATOR), "other", 403),
    ):
        key = bearer(keyed.make_key(*scopes, tenant=tenant))
        assert keyed.call("POST", "/api/tasks", BODY, key | {"x-onceover-route": "queue"}).status == status
    assert len(keyed.database.rows("SELECT 1 FROM tasks")) == 1


def test_a_repeated_submission_may_name_another_route(bench: ApiBench):
    """The route is no part of what an Idempotency-Key stands for."""
    first = bench.call("POST", "/api/tasks", BODY, {"idempotency-key": "one", "x-onceover-route": "queue"})
    for named in ({"x-onceover-route": "direct"}, {}):
        again = bench.call("POST", "/api/tasks", BODY, {"idempotency-key": "one"} | named)
        assert (again.status, data(again)["id"]) == (202, data(first)["id"])
        assert again.headers["Idempotency-Replayed"] == "true"


SDK = ROOT / "node_modules" / "openai"
ONLY_ANSWERED = {"openai-poll-after-ms"}  # a header of answers
LISTED = "https://app.example.com"
PREFLIGHTED = [
    ("GET", "/api/tasks", 200),
    ("HEAD", "/api/tasks", 200),
    ("POST", "/api/tasks", 400),
    ("PUT", "/api/tasks", 405),
    ("OPTIONS", "/api/tasks", 204),
    ("GET", f"/api/tasks/{ID}", 404),
    ("DELETE", f"/api/tasks/{ID}", 404),
    ("GET", "/api/tasks?limit=x", 422),
    ("GET", "/api/async-status", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/nowhere", 404),
    ("OPTIONS", "/nowhere", 404),
]


@pytest.fixture
def shared() -> ApiBench:
    settings = Settings(provider="demo", cors_origins=frozenset({LISTED, "http://localhost:5173"}))
    return ApiBench(settings=settings)


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


@pytest.mark.parametrize(("method", "path", "status"), PREFLIGHTED)
def test_off_by_default(bench: ApiBench, method: str, path: str, status: int) -> None:
    reply = bench.call(method, path, headers=preflight(LISTED))
    assert reply.status == status
    assert not {*ON_ANSWERS, *ON_PREFLIGHTS} & set(reply.headers)


@pytest.mark.parametrize(("method", "path", "status"), PREFLIGHTED)
def test_every_answer_to_a_listed_origin_can_be_read(shared: ApiBench, method: str, path: str, status: int) -> None:
    reply = shared.call(method, path, headers={"origin": LISTED})
    assert reply.status == status
    assert reply.headers["Access-Control-Allow-Origin"] == LISTED
    exposed = "Location, Retry-After, Idempotency-Replayed, Allow, WWW-Authenticate, X-Request-Id"
    assert reply.headers["Access-Control-Expose-Headers"] == (
        f"{exposed}, openai-poll-after-ms, x-should-retry, X-Incomplete, X-Last-Line"
    )
    assert reply.headers["Vary"] == "Origin"
    assert not set(ON_PREFLIGHTS) & set(reply.headers)
    assert "Access-Control-Allow-Credentials" not in reply.headers


UNLISTED = [
    *("https://app.example.org", "http://app.example.com", "https://evil-app.example.com", "null", "*", "", None),
    *(f"{LISTED}{rest}" for rest in (":8443", ".", "/", ".evil.example", f", {LISTED}")),
    *(LISTED.upper(), f" {LISTED}"),
]


@pytest.mark.parametrize("origin", UNLISTED)
@pytest.mark.parametrize(("method", "path", "status"), PREFLIGHTED)
def test_nobody_else_can(shared: ApiBench, method: str, path: str, status: int, origin: str | None) -> None:
    headers = {} if origin is None else preflight(origin)
    reply = shared.call(method, path, headers=headers)
    assert reply.status == status
    assert {*ON_ANSWERS, *ON_PREFLIGHTS} & set(reply.headers) == {"Vary"}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/tasks", "POST, GET, HEAD, OPTIONS"),
        (f"/api/tasks/{ID}", "GET, DELETE, HEAD, OPTIONS"),
        (f"/api/tasks/{ID}/cancel", "POST, OPTIONS"),
    ],
)
def test_preflight(shared: ApiBench, path: str, methods: str) -> None:
    reply = shared.call("OPTIONS", path, headers=preflight(LISTED))
    assert (reply.status, reply.body) == (204, "")
    assert reply.headers["Allow"] == reply.headers["Access-Control-Allow-Methods"] == methods
    sendable = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"} <= set(sendable)
    assert int(reply.headers["Access-Control-Max-Age"]) > 0
    assert reply.headers["Access-Control-Allow-Origin"] == LISTED
    assert reply.headers["Vary"] == "Origin"
    assert shared.database.batches == 0


def test_pages_may_use_the_sdk(shared: ApiBench) -> None:
    """CORS allows every request header that occurs in the installed JavaScript SDK's code."""
    reply = shared.call("OPTIONS", "/v1/responses", headers=preflight(LISTED))
    sendable = {name.lower() for name in reply.headers["Access-Control-Allow-Headers"].split(", ")}
    code = "".join(path.read_text("utf-8") for path in SDK.rglob("*.js"))
    sent = {name.lower() for name in re.findall(r"['\"]((?:X-Stainless|OpenAI)-[A-Za-z-]+)['\"]", code)}
    assert {"x-stainless-retry-count", "openai-organization"} <= sent
    assert sent - ONLY_ANSWERED - {"openai-beta"} <= sendable
    # A browser itself sets the header User-Agent. OpenAI's SDK for Python sends `x-stainless-async` and
    # `x-stainless-read-timeout`, for web pages that run it.
    assert {"user-agent", "x-stainless-async", "x-stainless-read-timeout"} <= sendable


def test_preflight_of_an_unknown_path(shared: ApiBench) -> None:
    reply = shared.call("OPTIONS", "/nowhere", headers=preflight(LISTED))
    assert reply.status == 404
    assert not set(ON_PREFLIGHTS) & set(reply.headers)
