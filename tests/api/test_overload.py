"""Requests that are refused before they cost: a late database, floods of keys, and the limit of requests."""

import asyncio
import json
import tomllib
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.keys import Scope
from src.kernel.store.d1 import D1Statement
from tests.support.api_bench import START_MS, ApiBench, BenchRequest, bearer, check_documented, data

LATE = limits.OVERLOAD_SECONDS + 1


class SlowBench(ApiBench):
    """A deployment whose database takes `seconds` for each answer."""

    seconds = 0.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        batch = self.database.batch

        async def slow(statements: list[D1Statement]) -> list[Mapping[str, object]]:
            await asyncio.sleep(self.seconds)
            return await batch(statements)

        self.database.batch = slow  # type: ignore[method-assign]

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))


@pytest.fixture
def slow() -> SlowBench:
    return SlowBench()


@pytest.fixture
def keyed() -> SlowBench:
    return SlowBench(keys=True)


def submit(bench: ApiBench, headers: Mapping[str, str] | None = None) -> tuple[int, str | None, str | None]:
    reply = bench.call("POST", "/api/tasks", {"input": "x"}, headers)
    return reply.status, data(reply).get("code"), reply.headers.get("Retry-After")


def test_no_new_task_is_taken_while_the_database_is_late(slow: SlowBench) -> None:
    task, other = slow.submit(), slow.submit()
    slow.seconds = LATE
    assert slow.call("GET", task["links"]["self"]).status == 200
    slow.seconds = 0
    before, rows = slow.database.batches, slow.count_rows()
    assert submit(slow) == (503, "overloaded", str(round(limits.OVERLOAD_PROBE_SECONDS)))
    assert slow.call("POST", "/api/tasks?dryRun=true", {"input": "x"}).status == 503
    assert (slow.database.batches, slow.count_rows()) == (before, rows)
    slow.seconds = LATE  # from now on the database answers no call in time, so new tasks are still refused
    for method, path, status in (
        ("GET", "/api/tasks", 200),
        ("POST", task["links"]["cancel"], 200),
        ("POST", f"{task['links']['self']}/retry", 202),
        ("DELETE", other["links"]["self"], 204),
        ("GET", "/api/async-status", 200),
    ):
        assert slow.call(method, path).status == status


def upload() -> BenchRequest:
    sent = httpx.Request("POST", "http://h/v1/files", files={"file": ("a", b"x" * 9_000)}, data={"purpose": "batch"})
    return BenchRequest("POST", "http://h/v1/files", dict(sent.headers), sent.read())


def test_no_file_is_taken_while_the_database_is_late(slow: SlowBench) -> None:
    slow.seconds = LATE
    assert slow.call("GET", "/api/tasks").status == 200
    before, rows = slow.database.batches, slow.count_rows()
    refused = slow.send(upload())
    assert (refused.status, data(refused)["error"]["code"]) == (503, "overloaded")
    assert (slow.database.batches, slow.count_rows()) == (before, rows)

    async def crowd() -> list[int]:
        replies = await asyncio.gather(*(handle(upload(), slow.api, CATALOGUE) for _ in range(20)))
        return sorted(reply.status for reply in replies)

    slow.wait(limits.OVERLOAD_PROBE_SECONDS)
    assert slow.run(crowd()) == [200] + [503] * 19
    slow.seconds = 0
    slow.wait(limits.OVERLOAD_PROBE_SECONDS)
    assert slow.run(crowd()) == [200] + [503] * 19
    assert slow.run(crowd()) == [200] * 20
    assert submit(slow)[0] == 202


def test_a_database_that_becomes_late_while_a_file_arrives_gets_no_upload(slow: SlowBench) -> None:
    boundary = "multipart/form-data; boundary=b"
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    rest = b'x\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'

    class Slowly(BenchRequest):
        async def chunks(self) -> AsyncGenerator[bytes]:
            yield head
            slow.seconds = LATE
            await handle(BenchRequest("GET", "http://h/api/tasks"), slow.api, CATALOGUE)
            slow.seconds = 0
            yield rest

    rows = slow.count_rows()
    assert slow.send(Slowly("POST", "http://h/v1/files", {"content-type": boundary})).status == 503
    assert slow.count_rows() == rows


def test_one_submission_at_a_time_looks_whether_it_is_over(slow: SlowBench) -> None:
    slow.seconds = LATE
    assert submit(slow)[0] == 202  # nothing was known
    assert submit(slow)[0] == 503
    slow.wait(limits.OVERLOAD_PROBE_SECONDS)

    async def crowd() -> list[Reply]:
        requests = [BenchRequest("POST", "http://h/api/tasks", {}, b'{"input": "x"}') for _ in range(20)]
        return await asyncio.gather(*(handle(request, slow.api, CATALOGUE) for request in requests))

    assert sorted(reply.status for reply in slow.run(crowd())) == [202] + [503] * 19
    slow.seconds = 0
    assert submit(slow)[0] == 503
    slow.wait(limits.OVERLOAD_PROBE_SECONDS)
    before = slow.database.batches
    assert [reply.status for reply in slow.run(crowd())] == [202] + [503] * 19
    assert slow.database.batches == before + 1
    assert [reply.status for reply in slow.run(crowd())] == [202] * 20


def test_a_submission_is_refused_before_its_key_is_looked_up(keyed: SlowBench) -> None:
    key = keyed.make_key()
    keyed.seconds = LATE
    keyed.run(keyed.store.ready())
    before = keyed.database.batches
    assert submit(keyed, bearer(key))[:2] == (503, "overloaded")
    assert keyed.database.batches == before
    keyed.seconds = 0
    keyed.wait(limits.OVERLOAD_PROBE_SECONDS)
    assert submit(keyed, bearer(key))[0] == 202


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"input": "x" * 10 * (limits.CHUNKS_MOST + 1)}, 422),
        ({"input": "x" * 20_000, "instructions": "y" * limits.INSTRUCTIONS_CHARS_MOST}, 422),
        ({"input": "one two three four", "maxModelCalls": 1}, 422),
        ({"input": "x"}, 507),
    ],
    ids=["too many chunks", "too much repeated", "budget too small", "no room"],
)
def test_a_probe_is_not_spent_on_what_is_refused_from_memory(
    slow: SlowBench, fields: dict[str, object], status: int
) -> None:
    slow.database.cap.reported = limits.STORAGE_MB_MOST["free"] * 1_000_000 if status == 507 else None
    slow.seconds = LATE
    slow.run(slow.store.ready())
    slow.seconds = 0
    assert submit(slow)[0] == 503
    slow.wait(limits.OVERLOAD_PROBE_SECONDS)
    before = slow.database.batches
    assert slow.call("POST", "/api/tasks", fields).status == status
    assert slow.database.batches == before
    slow.api.isolate.storage.measured(0, 0.0)
    assert submit(slow)[0] == 202


def strange(number: int) -> dict[str, str]:
    return bearer(f"oo_{number:016x}_" + "A" * 43)


def flood(bench: ApiBench, count: int, first: int = 0) -> dict[str, int]:
    """Send this many different unknown keys at once, and count the answers by code."""
    found: dict[str, int] = {}

    async def all_at_once() -> list[Reply]:
        requests = [BenchRequest("GET", "http://h/api/tasks", strange(first + number)) for number in range(count)]
        return await asyncio.gather(*(handle(request, bench.api, CATALOGUE) for request in requests))

    for reply in bench.run(all_at_once()):
        check_documented("GET", "http://h/api/tasks", reply)
        code = data(reply)["code"]
        found[code] = found.get(code, 0) + 1
        assert code != "overloaded" or reply.headers["Retry-After"] == "1"
    return found


def test_a_flood_of_keys_costs_a_stated_number_of_calls(keyed: SlowBench) -> None:
    keyed.make_key()
    before = keyed.database.batches
    most = limits.LOOKUPS_AT_ONCE
    assert flood(keyed, 1_000) == {"unauthenticated": most, "overloaded": 1_000 - most}
    for second in range(1, 61):
        keyed.wait(1)
        flood(keyed, 100, first=1_000 * second)
    assert keyed.database.batches - before == most + 60 * limits.LOOKUPS_A_SECOND
    keyed.wait(60)
    assert flood(keyed, 1_000, first=10**6)["unauthenticated"] == most


def test_the_same_wrong_key_costs_a_call_in_ten_seconds(keyed: SlowBench) -> None:
    keyed.make_key()
    before = keyed.database.batches
    for _ in range(100):
        for headers in (strange(1), {}, bearer("junk"), bearer("oo_other_junk")):
            assert keyed.call("GET", "/api/tasks", headers=headers).status == 401
        keyed.wait(limits.REFUSED_CACHE_SECONDS / 101)
    assert keyed.database.batches - before == 2
    keyed.wait(limits.REFUSED_CACHE_SECONDS / 50)
    assert keyed.call("GET", "/api/tasks", headers=strange(1)).status == 401
    assert keyed.database.batches - before == 3


def test_a_key_that_has_worked_is_not_locked_out(keyed: SlowBench) -> None:
    key = keyed.make_key()
    assert keyed.call("GET", "/api/tasks", headers=bearer(key)).status == 200
    for _ in range(5):
        keyed.wait(limits.KEY_CACHE_SECONDS)
        flood(keyed, 100)
        assert keyed.call("GET", "/api/tasks", headers=bearer(key)).status == 200
    keyed.database.rows("DELETE FROM api_keys")
    keyed.make_key()
    keyed.wait(limits.KEY_CACHE_SECONDS)
    flood(keyed, 100)
    assert keyed.call("GET", "/api/tasks", headers=bearer(key)).status == 401
    assert not keyed.api.isolate.keys._entries


def test_a_new_key_works_at_once_where_nothing_floods(keyed: SlowBench) -> None:
    assert keyed.call("GET", "/api/tasks").status == 503
    keys = [keyed.make_key(tenant=f"t{number}") for number in range(3 * limits.LOOKUPS_AT_ONCE)]
    assert {keyed.call("GET", "/api/tasks", headers=bearer(key)).status for key in keys} == {200}


def test_a_probe_is_not_spent_on_who_is_refused_anyway(keyed: SlowBench) -> None:
    key, reader = keyed.make_key(), keyed.make_key(Scope.READ)
    for known in (key, reader):
        keyed.call("GET", "/api/tasks", headers=bearer(known))
    assert submit(keyed, {})[0] == 401
    keyed.seconds = LATE
    keyed.run(keyed.store.ready())
    assert submit(keyed, bearer(key))[0] == 503
    keyed.wait(limits.OVERLOAD_PROBE_SECONDS)
    assert submit(keyed, {})[0] == 401
    assert submit(keyed, bearer(reader))[0] == 403
    assert keyed.call("POST", "/api/tasks", {"input": 1}, bearer(key)).status == 422
    assert submit(keyed, bearer(key))[0] == 202


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
