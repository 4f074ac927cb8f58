"""Refusals below `/v1` have OpenAI's shape and onceover's codes, and keep SDKs from useless repetitions."""

import httpx2
import openai
import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.api.router import configuration_problem
from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.keys import Scope
from tests.support.api_bench import START_MS, ApiBench, data
from tests.support.sqlite_d1 import NETWORK_LOST, ROWS_USED_UP

ID = f"resp_{new_task_id(START_MS, b'0123456789')}"
BODY = {"background": True, "input": "x"}
CLIENT = openai.OpenAI(api_key="x", base_url="http://localhost/v1")


def retries(reply: Reply) -> bool:
    """Return whether the SDK would send the request again after this answer, by the SDK's own rule."""
    answer = httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body.encode())
    return CLIENT._should_retry(answer)


def raised(reply: Reply) -> openai.APIStatusError:
    """Return the error that the SDK raises for this answer."""
    request = httpx2.Request("POST", "http://localhost/v1/responses")
    answer = httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body.encode(), request=request)
    return CLIENT._make_status_error_from_response(answer)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", f"/v1/responses/{ID}/", 404, "not_found"),
        ("GET", "/v1/responses/resp_", 404, "not_found"),
        ("GET", f"/v1/responses/{ID[5:]}", 404, "not_found"),
        ("GET", f"/v1/responses/{ID.upper()}", 404, "not_found"),
        ("PATCH", "/v1/responses", 405, "method_not_allowed"),
        ("POST", "/v1/responses", 400, "malformed_body"),
    ],
)
def test_the_shape(bench: ApiBench, method: str, path: str, status: int, code: str):
    reply = bench.call(method, path)
    error = data(reply)["error"]
    assert (reply.status, error["code"], error["param"]) == (status, code, None)
    assert error["type"] == "invalid_request_error"
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Request-Id"] == "bench"


def test_a_misconfigured_deployment_says_so_in_the_shape():
    reply = configuration_problem(ConfigurationError("AI_PROVIDER", "one of"), "POST", {}, "http://h/v1/responses")
    assert data(reply)["error"]["code"] == "bad_configuration"
    assert not retries(reply)


@pytest.mark.parametrize(
    ("message", "code", "again"),
    [
        (NETWORK_LOST, "database_unavailable", True),
        ("string or blob too big: SQLITE_TOOBIG", "database_error", True),
        (ROWS_USED_UP, "database_quota_exhausted", False),
        ("no such table: tasks", "schema_missing", False),
        ("Exceeded maximum DB size", "storage_full", False),
    ],
)
def test_trouble_of_the_database(bench: ApiBench, message: str, code: str, again: bool):
    bench.database.fail(message, times=10)
    reply = bench.call("POST", "/v1/responses", BODY)
    assert data(reply)["error"]["code"] == code
    assert data(reply)["error"]["type"] == "server_error"
    assert retries(reply) == again
    seconds = int(reply.headers["Retry-After"])
    assert int(reply.headers["openai-poll-after-ms"]) == seconds * 1000


@pytest.mark.parametrize(("limit", "again"), [("tasks_in_flight_most", True), ("characters_a_day_most", False)])
def test_limits_of_a_tenant(bench: ApiBench, limit: str, again: bool):
    """An SDK repeats what tasks in flight refuse, which may end soon, and not what the day's characters do."""
    bench.limit(**{limit: 1})
    bench.call("POST", "/v1/responses", BODY)
    reply = bench.call("POST", "/v1/responses", BODY)
    assert (reply.status, data(reply)["error"]["type"]) == (429, "rate_limit_error")
    assert retries(reply) == again
    assert isinstance(raised(reply), openai.RateLimitError)


def test_keys(keyed: ApiBench):
    """The SDK raises separate errors for a deployment without keys, a request without a key, and a missing scope."""
    none_yet = keyed.call("POST", "/v1/responses", BODY)
    assert (none_yet.status, data(none_yet)["error"]["code"]) == (503, "not_configured")
    assert not retries(none_yet)
    key = keyed.make_key(*(scope for scope in Scope if scope is not Scope.WRITE))
    keyed.restart()
    missing = keyed.call("POST", "/v1/responses", BODY)
    assert isinstance(raised(missing), openai.AuthenticationError)
    assert data(missing)["error"]["type"] == "authentication_error"
    forbidden = keyed.call("POST", "/v1/responses", BODY, {"authorization": f"Bearer {key}"})
    assert isinstance(raised(forbidden), openai.PermissionDeniedError)
    assert data(forbidden)["error"]["type"] == "permission_error"


def test_the_sdk_reads_code_and_param(bench: ApiBench):
    error = raised(bench.call("POST", "/v1/responses", BODY | {"tools": [{"type": "web_search"}]}))
    assert isinstance(error, openai.BadRequestError)
    assert (error.code, error.param, error.type) == ("unsupported_parameter", "tools", "invalid_request_error")


def test_nothing_in_the_answer_asks_for_a_repetition(bench: ApiBench):
    assert "x-should-retry" not in bench.call("POST", "/v1/responses", BODY).headers
    bench.database.fail("no such table: tasks", times=10)
    assert "x-should-retry" not in bench.call("POST", "/api/tasks", {"input": "x"}).headers


@pytest.mark.parametrize("path", ["/v1x", "/V1/responses", "//v1/responses", "/api/v1/responses"])
def test_what_is_not_below_v1_has_problems(bench: ApiBench, path: str):
    assert data(bench.call("GET", path))["code"] == "not_found"


def test_a_deployment_without_webhooks(bench: ApiBench):
    """Without WEBHOOK_KEY an SDK does not repeat its request, since only an operator can set the variable."""
    bench.limit(webhook_key=None)
    fields = {"name": "a", "url": "https://a.example.com/", "event_types": ["task.failed"]}
    reply = bench.call("POST", "/v1/webhook_endpoints", fields)
    assert data(reply)["error"]["code"] == "no_webhook_key"
    assert not retries(reply)
