"""`/api/async-status` and `/api/ai-status`: what they say of service and model, to whom, and what that costs."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.features.demo.demo import DemoProvider
from src.features.operate.checks import DatabaseCheck
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.services import BoundRoutes
from src.kernel.api.base.views import rfc3339
from src.kernel.api.router import handle
from src.kernel.calls.protocol import Health
from src.kernel.domain import limits
from src.kernel.domain.codes import OF_SERVICE, TaskCode
from src.kernel.domain.keys import Scope
from src.kernel.domain.limits import FREE_PLAN_DAY
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Failure, LastError, Wait
from src.kernel.store.claims import Fail, Release
from src.kernel.store.d1 import Database
from tests.support.api_bench import QUEUES, ApiBench, BenchRequest, bearer, data
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import NETWORK_LOST, ROWS_USED_UP
from tests.support.tiers import sized

OBJECTS = BoundRoutes(queue=False, dead_letter_queue=False, objects=True)
NEITHER = BoundRoutes(queue=False, dead_letter_queue=False, objects=False)

LETTER = {
    QUEUES: """{
  "status": "healthy",
  "service": "Cloudflare Queues Async Processing",
  "architecture": "Workers + D1 + Queues",
  "queueCheck": {"hasAIQueue": true, "hasAIDLQ": true, "hasDurableObjects": true}
}""",
    OBJECTS: """{
  "status": "healthy",
  "service": "Cloudflare Durable Objects Async Processing",
  "architecture": "Workers + D1 + Durable Objects",
  "queueCheck": {"hasAIQueue": false, "hasAIDLQ": false, "hasDurableObjects": true}
}""",
    NEITHER: """{
  "status": "degraded",
  "service": "Direct Async Processing",
  "architecture": "Workers + D1",
  "queueCheck": {"hasAIQueue": false, "hasAIDLQ": false, "hasDurableObjects": false}
}""",
}


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
def test_service(bound: BoundRoutes) -> None:
    bench = ApiBench(bound=bound)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.body == json.dumps(json.loads(LETTER[bound]))


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
@pytest.mark.parametrize("migrated", [True, False])
def test_unhealthy(bound: BoundRoutes, migrated: bool) -> None:
    bench = ApiBench(bound=bound, migrated=migrated)
    if migrated:
        bench.database.fail(NETWORK_LOST, times=10)
    reply = bench.call("GET", "/api/async-status")
    shown = data(reply)
    assert (reply.status, shown["status"]) == (503, "unhealthy")
    assert int(reply.headers["Retry-After"]) >= 1
    assert "make dev" in shown["detail"]
    assert "npx wrangler d1 migrations" in shown["detail"]
    assert ("apply" in shown["detail"]) == (not migrated)
    healthy = json.loads(LETTER[bound])
    assert {name: shown[name] for name in healthy if name != "status"} == {
        name: value for name, value in healthy.items() if name != "status"
    }


USED = {
    "day": "2026-09-21",
    "requests": 12,
    "rowsRead": 3,
    "rowsWritten": 29,
    "queueOperations": 3,
    "objectRequests": 2,
    "objectRowsWritten": 5,
    "objectGbSeconds": 1.2345,
}


class Counted:
    async def read(self) -> dict[str, object]:
        return dict(USED)


def test_verbose(keyed: ApiBench) -> None:
    keyed.api = replace(keyed.api, day_use=Counted())
    plain = keyed.call("GET", "/api/async-status?verbose=0")
    assert plain.body == json.dumps(json.loads(LETTER[QUEUES]))
    shown = data(keyed.call("GET", "/api/async-status?verbose=1"))
    usage = shown.pop("usage")
    assert shown == json.loads(LETTER[QUEUES])
    assert usage.pop("day") == "2026-09-21"
    assert usage["rowsWritten"] == {"used": 29, "limit": 100_000}
    assert usage["objectGbSeconds"] == {"used": 1.2, "limit": 13_000}
    assert {name: allowance["limit"] for name, allowance in usage.items()} == FREE_PLAN_DAY
    assert json.loads(keyed.log_lines[-1]) == {"event": "day_use", "request": "bench", **USED}


def test_verbose_without_a_count(bench: ApiBench) -> None:
    """Its own count would be too small, so it shows null."""
    assert data(bench.call("GET", "/api/async-status?verbose=1"))["usage"] is None
    refused = bench.call("GET", "/api/async-status?verbose=yes")
    assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "verbose")


def test_rows_used_up(bench: ApiBench) -> None:
    bench.database.fail(ROWS_USED_UP)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, data(reply)["status"]) == (503, "unhealthy")
    assert "midnight UTC" in data(reply)["detail"]
    seconds_to_midnight = 24 * 3600 - (14 * 3600 + 13 * 60 + 20)
    assert reply.headers["Retry-After"] == str(seconds_to_midnight)
    bench.database.fail(ROWS_USED_UP)
    submitted = bench.call("POST", "/api/tasks", {"input": "text"})
    assert (submitted.status, data(submitted)["code"]) == (503, "database_quota_exhausted")
    assert submitted.headers["Retry-After"] == str(seconds_to_midnight)


GIVEN_UP = limits.STORE_SECONDS_OF_REQUEST
# How many requests come at once, and how many come each tenth of a second. The number of D1 calls depends on neither.
AT_ONCE, EACH_TENTH = sized(quick=(200, 3), test=(1_000, 10), campaign=(1_000, 10))


async def crowd(bench: ApiBench, count: int) -> list[Reply]:
    requests = [BenchRequest("GET", "http://h/api/async-status") for _ in range(count)]
    return await asyncio.gather(*(handle(request, bench.api, CATALOGUE) for request in requests))


@pytest.fixture
def asked() -> ApiBench:
    """Make a deployment with the production time limit for D1 calls of requests."""
    made = ApiBench()
    made.api = replace(made.api, store=task_store(Database(made.database, Meter(), seconds=GIVEN_UP)))
    return made


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (0.9, 1), (3.5, 4), (9.5, 10)])
def test_a_crowd_costs_a_call_for_each_second_that_the_database_takes(
    asked: ApiBench, seconds: float, calls: int
) -> None:
    asked.database.seconds = seconds
    assert {reply.status for reply in asked.run(crowd(asked, AT_ONCE))} == {200}
    assert asked.database.batches <= calls


@pytest.mark.parametrize("seconds", [0.0, 0.3, 3.0])
def test_a_minute_of_requests_costs_a_call_a_second(asked: ApiBench, seconds: float) -> None:
    asked.database.seconds = seconds

    async def minute() -> set[int]:
        crowds = []
        for _ in range(600):
            crowds.append(asyncio.ensure_future(crowd(asked, EACH_TENTH)))
            await asyncio.sleep(0.1)
        return {reply.status for replies in await asyncio.gather(*crowds) for reply in replies}

    assert asked.run(minute()) == {200}
    assert 50 <= asked.database.batches <= 61


def test_the_last_answer_is_shown_while_the_next_is_out(asked: ApiBench) -> None:
    """Of several status requests, only the one that asks the database waits for its answer."""

    async def story() -> tuple[list[float], list[int]]:
        await crowd(asked, 1)
        asked.database.seconds = 1_000.0
        hanging, took = [], []
        for _ in range(2):
            await asyncio.sleep(limits.DATABASE_CHECK_SECONDS)
            hanging.append(asyncio.ensure_future(crowd(asked, 1)))
            await asyncio.sleep(0.1)
            began = asked.loop.time()
            assert [reply.status for reply in await crowd(asked, 10)] == [200] * 10
            took.append(asked.loop.time() - began)
        return took, [reply.status for (reply,) in await asyncio.gather(*hanging)]

    assert asked.run(story()) == ([0.0, 0.0], [503, 503])


def test_no_old_answer_is_shown(asked: ApiBench) -> None:
    async def story() -> set[int]:
        await crowd(asked, 1)
        await asyncio.sleep(3_600.0)
        asked.database.seconds = 1_000.0
        return {reply.status for reply in await crowd(asked, 100)}

    assert asked.run(story()) == {503}


def test_a_check_whose_request_died_holds_nobody_up(asked: ApiBench) -> None:
    """The runtime may end an invocation silently."""

    async def dead() -> None:
        await asyncio.sleep(1e9)

    async def story() -> float:
        died = asyncio.ensure_future(asked.api.isolate.of(DatabaseCheck).read(dead))
        await asyncio.sleep(0)
        (reply,) = await crowd(asked, 1)
        died.cancel()
        assert reply.status == 200
        return asked.loop.time()

    assert asked.run(story()) <= limits.DATABASE_CHECK_SECONDS + 0.1


class Ailing(DemoProvider):
    async def probe(self) -> Health:
        return Health("unavailable", "no connection")


def test_model() -> None:
    bench = ApiBench(settings=Settings(provider="demo", model="chosen"), provider=Ailing())
    reply = bench.call("GET", "/api/ai-status")
    assert reply.status == 200
    assert data(reply) == {
        "status": "unavailable",
        "provider": "demo",
        "model": "chosen",
        "checkedAt": "2026-09-21T14:13:20.000Z",
        "detail": "no connection",
        "since": None,
        "waiting": 0,
        "codes": [],
    }


def test_what_a_later_check_found_is_newer(asked: ApiBench) -> None:
    asked.database.seconds = 1_000.0

    async def story() -> list[int]:
        hanging = asyncio.ensure_future(crowd(asked, 1))
        await asyncio.sleep(GIVEN_UP - 0.5)
        asked.database.seconds = 0.0
        later, earlier, now = await crowd(asked, 1), await hanging, await crowd(asked, 1)
        return [reply.status for (reply,) in (later, earlier, now)]

    assert asked.run(story()) == [200, 503, 200]
    assert asked.database.batches == 2


def test_a_crowd_before_a_silent_database(asked: ApiBench) -> None:
    asked.database.seconds = 1_000.0
    assert {reply.status for reply in asked.run(crowd(asked, AT_ONCE))} == {503}
    assert asked.loop.time() <= 2 * GIVEN_UP
    assert asked.database.batches <= GIVEN_UP


PATH = "/api/ai-status"
FRESH = 10.001  # seconds after which an isolate reads anew


def health(bench: ApiBench, key: str | None = None) -> dict[str, Any]:
    """Read the health when the isolate reads it anew."""
    bench.pass_seconds(FRESH)
    found = data(bench.call("GET", PATH, headers=None if key is None else bearer(key)))
    assert isinstance(found, dict)
    return found


def end(bench: ApiBench, code: TaskCode | None = None) -> None:
    """End a task: with a code it fails, without one it completes."""
    task_id = bench.submit("one")["id"]
    if code is None:
        bench.complete(task_id)
    else:
        failure = Failure(code, "because", True)
        bench.work(bench.claim(task_id), {}, Fail(bench.settings.retention_ms, failure), failed=failure)


def wait(bench: ApiBench, code: TaskCode = TaskCode.MODEL_UNAVAILABLE, tenant: str = "local") -> None:
    """Let a task find its model away, and wait for it."""
    made = bench.submit("one") if tenant == "local" else {}
    if tenant != "local":
        key = bench.make_key(tenant=tenant)
        made = data(bench.call("POST", "/api/tasks", {"input": "one"}, bearer(key)))
    claim, now = bench.claim(made["id"], tenant), bench.now_ms()
    error = LastError(code, "502", now, 0, 3, now - 60_000)
    told: dict[str, Any] = {"away_since": now - 60_000, "away_waits": 3, "last_error": error}
    bench.work(claim, {}, Release(60_000, 240_000), wait=Wait("model_away", now + 60_000), **told)


def test_a_task_that_waits_makes_the_model_unavailable_until_one_succeeds(bench: ApiBench) -> None:
    """Although the probe is content: without a success the model is unavailable, with one it is degraded."""
    assert health(bench)["status"] == "healthy"
    wait(bench)
    since = rfc3339(bench.now_ms() - 60_000)
    found = health(bench)
    assert (found["status"], found["waiting"], found["provider"]) == ("unavailable", 1, "demo")
    assert found["detail"].endswith(", but calls fail")
    assert found["codes"] == [{"code": "model_unavailable", "share": 1.0, "tasks": 1}]
    assert found["since"] == since
    end(bench)
    end(bench)
    found = health(bench)
    assert (found["status"], found["waiting"], found["codes"][0]["share"]) == ("degraded", 1, 0.3333)
    bench.pass_seconds(20 * 60)
    assert health(bench)["status"] == "unavailable"


def test_a_task_whose_calls_succeed_is_a_success_too(bench: ApiBench) -> None:
    """A long task that goes on shows that the model answers, although no task has ended."""
    wait(bench)
    bench.begin(bench.submit()["id"], 1)
    assert health(bench)["status"] == "degraded"


@pytest.mark.parametrize("code", TaskCode)
def test_only_failures_of_the_service_degrade(bench: ApiBench, code: TaskCode) -> None:
    """A fifth of the ended tasks that failed for a cause of the service degrades the model. Other failures never do."""
    for _ in range(4):
        end(bench)
    end(bench, code)
    found = health(bench)
    assert found["status"] == ("degraded" if code in OF_SERVICE else "healthy")
    assert found["codes"] == ([{"code": code, "share": 0.2, "tasks": 1}] if code in OF_SERVICE else [])
    assert (found["since"] is None) is (code not in OF_SERVICE)
    end(bench)
    assert health(bench)["status"] == "healthy"


def test_what_counts_as_the_service_s() -> None:
    """Refused credentials, an unknown default model, a used-up quota and malformed replies count, other 4xx do not."""
    assert {code.removeprefix("model_") for code in OF_SERVICE} == {
        *("unavailable", "timeout", "connection_lost"),
        *("misconfigured", "quota_exhausted", "reply_malformed"),
    }


def test_failures_count_for_fifteen_minutes(bench: ApiBench) -> None:
    end(bench, TaskCode.MODEL_MISCONFIGURED)
    bench.pass_seconds(14 * 60)
    assert health(bench)["status"] == "degraded"
    bench.pass_seconds(6 * 60)
    assert health(bench)["status"] == "healthy"


def test_the_worse_of_probe_and_calls_counts() -> None:
    bench = ApiBench(provider=Ailing())
    end(bench)
    found = health(bench)
    assert (found["status"], found["detail"], found["codes"]) == ("unavailable", "no connection", [])


def test_who_sees_what(keyed: ApiBench) -> None:
    """No key sees the status alone; `read` sees the causes and its own tenant's tasks; operators see all of it."""
    for tenant in ("acme", "acme", "other"):
        wait(keyed, TaskCode.MODEL_TIMEOUT, tenant)
    least = health(keyed)
    assert least.keys() == {"status", "checkedAt"}
    assert least["status"] == "unavailable"
    for key in (keyed.make_key(Scope.WRITE, tenant="acme"), "oo_" + "f" * 16 + "_" + "A" * 43):
        assert health(keyed, key).keys() == least.keys()
    theirs = health(keyed, keyed.make_key(Scope.READ, tenant="acme"))
    assert (theirs["waiting"], theirs["codes"]) == (2, [{"code": "model_timeout", "share": 1.0}])
    assert health(keyed, keyed.make_key(Scope.READ, tenant="calm"))["waiting"] == 0
    ours = health(keyed, keyed.make_key(Scope.ADMIN))
    assert (ours["waiting"], ours["codes"]) == (3, [{"code": "model_timeout", "share": 1.0, "tasks": 3}])
    assert theirs["since"] == ours["since"] is not None
    # An admin of another tenant is no operator.
    assert "tasks" not in health(keyed, keyed.make_key(Scope.READ, Scope.ADMIN, tenant="acme"))["codes"][0]


def test_a_key_is_looked_up_once_while_the_database_does_not_answer(keyed: ApiBench) -> None:
    key = keyed.make_key(tenant="acme")
    health(keyed)
    asked = keyed.database.batches
    keyed.database.fail(NETWORK_LOST, times=20)
    assert data(keyed.call("GET", PATH, headers=bearer(key))).keys() == {"status", "checkedAt"}
    assert keyed.database.batches - asked == limits.STORE_SENDS


def test_an_isolate_reads_once_in_ten_seconds(bench: ApiBench) -> None:
    health(bench)
    before = bench.database.batches
    for _ in range(20):
        bench.call("GET", PATH)
    assert bench.database.batches == before
    health(bench)
    assert bench.database.batches > before


def test_a_database_that_does_not_answer_leaves_the_probe(bench: ApiBench) -> None:
    wait(bench)
    bench.database.fail(NETWORK_LOST, times=20)
    assert data(bench.call("GET", PATH))["status"] == "healthy"
    bench.database.heal()
    assert health(bench)["status"] == "unavailable"


def test_metrics_say_the_same(bench: ApiBench) -> None:
    wait(bench)
    bench.pass_seconds(FRESH)
    said = bench.call("GET", "/api/metrics").body
    assert 'onceover_model_health{status="unavailable"} 1\n' in said
    assert 'onceover_model_health{status="healthy"} 0\n' in said
    assert "onceover_tasks_waiting_for_model 1\n" in said
