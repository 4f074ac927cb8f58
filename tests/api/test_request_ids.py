"""X-Request-Id is on every answer, in each problem, and in each log line of the request."""

import json

import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.api.router import configuration_problem
from src.kernel.domain.errors import ConfigurationError
from tests.support.api_bench import ApiBench, data
from tests.support.sqlite_d1 import NETWORK_LOST

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
