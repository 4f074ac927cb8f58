"""The rate limit of requests: each tenant has its own limit, and if the limiter fails, requests are let through."""

import asyncio
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import new_task_id
from tests.support.api_bench import START_MS, ApiBench, data

ID = new_task_id(START_MS, b"0123456789")
COUNTED = [
    ("POST", "/api/tasks"),
    ("POST", "/api/tasks?x=1"),
    ("GET", "/api/tasks"),
    ("HEAD", "/api/tasks"),
    ("GET", f"/api/tasks/{ID}"),
    ("DELETE", f"/api/tasks/{ID}"),
    ("GET", f"/api/tasks/{ID}/chunks"),
    ("POST", f"/api/tasks/{ID}/cancel"),
    ("POST", f"/api/tasks/{ID}/retry"),
    ("GET", "/openapi.json"),
]
NOT_COUNTED = [
    ("GET", "/api/async-status", 200),
    ("GET", "/api/ai-status", 200),
    ("OPTIONS", "/api/tasks", 204),
    ("PUT", "/api/tasks", 405),
    ("GET", "/nowhere", 404),
]


class Limiter:
    """A stand-in for the limiter, which lets `most` requests of each tenant through."""

    def __init__(self, most: int) -> None:
        self.left: dict[str, int] = {}
        self.most = most
        self.trouble: Callable[[], object] | None = None

    async def allows(self, key: str) -> bool:
        if self.trouble is not None:
            found = self.trouble()
            if isinstance(found, Exception):
                raise found
            await asyncio.sleep(1e9)
        self.left[key] = self.left.get(key, self.most) - 1
        return self.left[key] >= 0


@pytest.fixture
def limiter(bench: ApiBench) -> Limiter:
    made = Limiter(1)
    object.__setattr__(bench.api, "rate_limiter", made)
    return made


@pytest.mark.parametrize(("method", "path"), COUNTED)
def test_beyond_the_limit(bench: ApiBench, limiter: Limiter, method: str, path: str) -> None:
    assert bench.call(method, path).status not in {429, 500}
    batches = bench.database.batches
    refused = bench.call(method, path)
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "60"
    assert bench.database.batches == batches
    assert limiter.left == {"local": -1}
    if method != "HEAD":
        assert (data(refused)["code"], data(refused)["limit"]) == ("limit_reached", "requests")


@pytest.mark.parametrize(("method", "path", "status"), NOT_COUNTED)
def test_what_needs_no_key_is_not_counted(
    bench: ApiBench, limiter: Limiter, method: str, path: str, status: int
) -> None:
    limiter.most = 0
    assert bench.call(method, path).status == status
    assert limiter.left == {}


@pytest.mark.parametrize("trouble", [lambda: RuntimeError("key local is secret"), lambda: "hangs"])
def test_a_limiter_that_fails_refuses_nothing(bench: ApiBench, limiter: Limiter, trouble: Callable[[], object]) -> None:
    """If it raises or does not answer, the request passes, and the error's type is logged."""
    limiter.trouble = trouble
    limiter.most = 0
    before = bench.loop.time()
    assert bench.call("GET", "/api/tasks").status == 200
    assert bench.loop.time() - before <= limits.RATE_LIMITER_SECONDS
    lines = [json.loads(line) for line in bench.log_lines]
    assert [line["event"] for line in lines] == ["rate_limiter_failed"]
    assert lines[0]["error"] in {"RuntimeError", "TimeoutError"}
    assert "secret" not in bench.log_lines[0]


@pytest.mark.parametrize("prefix", ["", "env.free.", "env.direct."])
def test_wrangler_toml_shows_how(prefix: str) -> None:
    """Each environment has a commented block, with the code's period."""
    text = (Path(__file__).parents[2] / "wrangler.toml").read_text()
    assert "ratelimits" not in str(tomllib.loads(text))
    lines = text.partition(f"# [[{prefix}ratelimits]]\n")[2].splitlines()[:3]
    bound = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines))
    assert bound["name"] == "RATE_LIMITER"
    assert isinstance(bound["namespace_id"], str)
    assert bound["simple"]["period"] == limits.REQUEST_PERIOD_SECONDS
