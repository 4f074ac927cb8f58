"""CORS: an answer allows cross-origin reading only to an origin that CORS_ORIGINS lists."""

import re
from collections.abc import Iterator

import pytest

from local.node import ROOT
from src.kernel.api.access.access import ON_ANSWERS, ON_PREFLIGHTS
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.settings import Settings
from tests.support.api_bench import START_MS, ApiBench

ID = new_task_id(START_MS, b"0123456789")
SDK = ROOT / "node_modules" / "openai"
ONLY_ANSWERED = {"openai-poll-after-ms"}  # a header of answers
LISTED, OTHER = "https://app.example.com", "https://app.example.org"
CALLS = [
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
def shared() -> Iterator[ApiBench]:
    settings = Settings(provider="demo", cors_origins=frozenset({LISTED, "http://localhost:5173"}))
    made = ApiBench(settings=settings)
    yield made
    made.close()


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }


@pytest.mark.parametrize(("method", "path", "status"), CALLS)
def test_off_by_default(bench: ApiBench, method: str, path: str, status: int) -> None:
    reply = bench.call(method, path, headers=preflight(LISTED))
    assert reply.status == status
    assert not {*ON_ANSWERS, *ON_PREFLIGHTS} & set(reply.headers)


@pytest.mark.parametrize(("method", "path", "status"), CALLS)
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


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        "*",
        "",
        "http://app.example.com",
        f"{LISTED}:8443",
        f"{LISTED}.",
        f"{LISTED}/",
        f"{LISTED}.evil.example",
        "https://evil-app.example.com",
        LISTED.upper(),
        f"{LISTED}, {LISTED}",
        f" {LISTED}",
        None,
    ],
)
@pytest.mark.parametrize(("method", "path", "status"), CALLS)
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
