"""`GET /api/ai-status` says what happens to calls: from tasks that wait, and the sums over those that ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.features.demo.demo import DemoProvider
from src.kernel.api.base.views import rfc3339
from src.kernel.calls.protocol import Health
from src.kernel.domain import limits
from src.kernel.domain.codes import OF_SERVICE, TaskCode
from src.kernel.domain.ids import task_key_of
from src.kernel.domain.keys import Scope
from src.kernel.domain.task import Failure, LastError, Route, Wait
from src.kernel.store.claims import Claim, Fail, Release
from tests.support.api_bench import ApiBench, bearer, data
from tests.support.sqlite_d1 import NETWORK_LOST

PATH = "/api/ai-status"
FRESH = 10.001  # seconds after which an isolate reads anew


@pytest.fixture
def keyed() -> Iterator[ApiBench]:
    made = ApiBench(keys=True)
    yield made
    made.close()


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
    task_key, now = task_key_of(tenant, made["id"]), bench.now_ms()
    claim = bench.run(bench.store.claim(task_key, holder=made["id"], host="", route=Route.QUEUE, lease_ms=180_000))
    assert isinstance(claim, Claim)
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


class Ailing(DemoProvider):
    """A provider whose probe finds trouble."""

    async def probe(self) -> Health:
        return Health("unavailable", "no connection")


def test_the_worse_of_probe_and_calls_counts() -> None:
    bench = ApiBench(provider=Ailing())
    end(bench)
    found = health(bench)
    assert (found["status"], found["detail"], found["codes"]) == ("unavailable", "no connection", [])
    bench.close()


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
    """A monitor with a key waits for one look-up, and gets the status."""
    key = keyed.make_key(tenant="acme")
    health(keyed)
    asked = keyed.database.batches
    keyed.database.fail(NETWORK_LOST, times=20)
    assert data(keyed.call("GET", PATH, headers=bearer(key))).keys() == {"status", "checkedAt"}
    assert keyed.database.batches - asked == limits.STORE_SENDS


def test_an_isolate_reads_once_in_ten_seconds(bench: ApiBench) -> None:
    """However many requests ask, the database is read once in ten seconds."""
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
