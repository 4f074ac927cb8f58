"""`POST /api/sweep`, the operators' status with `verbose=1`, and sweeps that other requests start."""

import re
from typing import Any

import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.task import Route, Wait
from src.kernel.domain.version import MIGRATION, MIGRATIONS, VERSION
from src.kernel.store.claims import Release
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, bearer, data
from tests.support.api_bench import key as key_of
from tests.support.batches import upload
from tests.support.memory_r2 import MemoryR2
from tests.support.sqlite_d1 import NETWORK_LOST

NOTHING = {"dispatched": 0, "worked": 0, "expired": 0, "failed": 0, "erased": 0}
LEASE_SECONDS = 180


@pytest.fixture
def looking() -> ApiBench:
    return ApiBench(looks=True)


def sweep(bench: ApiBench, key: str | None = None) -> Reply:
    return bench.call("POST", "/api/sweep", headers=None if key is None else bearer(key))


def verbose(bench: ApiBench, key: str | None = None) -> Any:
    return bench.call("GET", "/api/async-status?verbose=1", headers=None if key is None else bearer(key))


def scrape(bench: ApiBench) -> str:
    return bench.call("GET", "/api/metrics").body


def test_a_sweep_says_what_it_did(bench: ApiBench) -> None:
    old = bench.submit()
    bench.complete(old["id"])
    bench.pass_seconds(bench.settings.retention_days * 86_400)
    late = bench.submit(deadlineSeconds=60)
    lost = bench.submit()
    bench.pass_seconds(LEASE_SECONDS)
    sent = len(bench.senders[0].sent)
    reply = sweep(bench)
    assert (reply.status, data(reply)) == (200, {**NOTHING, "dispatched": 1, "expired": 1, "erased": 1})
    assert bench.senders[0].sent[sent:] == [lost["id"]]
    assert data(bench.call("GET", f"/api/tasks/{late['id']}"))["error"]["code"] == "deadline_exceeded"
    assert bench.call("GET", f"/api/tasks/{old['id']}").status == 404


def test_one_sweep_in_half_a_minute(bench: ApiBench) -> None:
    assert sweep(bench).status == 200
    bench.pass_seconds(10)
    bench.restart()
    refused = sweep(bench)
    assert (refused.status, data(refused)["code"], refused.headers["Retry-After"]) == (429, "too_soon", "20")
    bench.pass_seconds(19.5)
    assert sweep(bench).headers["Retry-After"] == "1"
    bench.pass_seconds(0.5)
    assert sweep(bench).status == 200


def test_who_may_sweep(keyed: ApiBench) -> None:
    assert sweep(keyed).status == 503  # no key exists yet
    reader = keyed.make_key(Scope.READ, Scope.WRITE)
    foreign = keyed.make_key(tenant="elsewhere")
    keyed.restart()  # for a moment the isolate still remembers that no key existed
    assert (sweep(keyed).status, sweep(keyed).headers["WWW-Authenticate"]) == (401, "Bearer")
    for key in (reader, foreign):
        refused = sweep(keyed, key)
        assert (refused.status, data(refused)["code"]) == (403, "forbidden")
        assert 'scope="admin"' in refused.headers["WWW-Authenticate"]
    assert keyed.database.rows("SELECT what FROM seen") == []
    assert sweep(keyed, keyed.make_key(Scope.ADMIN)).status == 200
    keyed.limit(operator_tenant="elsewhere")
    keyed.pass_seconds(30)
    assert sweep(keyed, keyed.make_key(Scope.ADMIN)).status == 403
    assert sweep(keyed, foreign).status == 200


def test_a_sweep_without_a_database_is_told(bench: ApiBench) -> None:
    bench.database.fail(NETWORK_LOST, times=10)
    assert sweep(bench).status == 503
    bench.database.heal()
    bench.run(bench.store.due(1))
    bench.database.fail("string or blob too big: SQLITE_TOOBIG", passing=1)
    reply = sweep(bench)
    assert (reply.status, data(reply)["code"]) == (503, "database_error")


def test_operators_see_triggers_and_backlog(bench: ApiBench) -> None:
    shown = data(verbose(bench))
    assert [shown[name] for name in ("lastSweepAt", "lastQueueAt", "lastAlarmAt")] == [None] * 3
    assert shown["backlog"] == {"pending": 0, "processing": 0, "oldestPendingSeconds": None}
    bench.submit()
    bench.pass_seconds(7)
    bench.submit()
    held = bench.submit()
    bench.claim(held["id"])
    ended = bench.submit()
    bench.complete(ended["id"])
    sweep(bench)
    shown = data(verbose(bench))
    assert shown["lastSweepAt"] == "2026-09-21T14:13:27.000Z"
    assert (shown["lastQueueAt"], shown["lastAlarmAt"]) == (None, None)
    assert shown["backlog"] == {"pending": 2, "processing": 1, "oldestPendingSeconds": 7}


def test_operators_see_what_needs_a_bucket_that_is_not_bound(bench: ApiBench) -> None:
    def shown() -> tuple[bool, int, str]:
        files = data(verbose(bench))["files"]
        (metric,) = re.findall(r"^onceover_tasks_without_files (\d+)$", scrape(bench), re.MULTILINE)
        return files["bucket"], files["unreachable"], metric

    small = upload(bench, "in D1", purpose="user_data")
    assert shown() == (False, 0, "0")
    bench.blobs = MemoryR2(bench.now_ms)
    text = upload(bench, "A text.", purpose="user_data")
    tasks = [data(bench.call("POST", "/api/tasks", {"inputFile": text}))["id"] for _ in range(2)]
    body = {"input_file_id": upload(bench, "{}"), "endpoint": "/v1/responses", "completion_window": "24h"}
    assert bench.call("POST", "/v1/batches", body).status == 200
    assert shown() == (True, 0, "0")
    bench.blobs = None
    assert bench.call("GET", f"/v1/files/{small}/content").status == 200
    assert bench.call("GET", f"/v1/files/{text}/content").status == 503
    assert shown() == (False, 3, "3")
    bench.call("POST", f"/api/tasks/{tasks[0]}/cancel")
    assert shown() == (False, 2, "2")
    assert data(verbose(bench))["files"]["incomplete"] == 0
    bench.database.rows("""UPDATE files SET missing = '{"0": [1, 1]}' WHERE place = 'r2'""")
    assert data(verbose(bench))["files"]["incomplete"] == 1


@pytest.mark.parametrize(
    ("route", "name"), [(Route.QUEUE, "lastQueueAt"), (Route.DURABLE_OBJECT, "lastAlarmAt"), (Route.DIRECT, None)]
)
def test_operators_see_when_a_host_came(bench: ApiBench, route: Route, name: str | None) -> None:
    shown = []
    for seconds in (7, 100, 100):
        bench.pass_seconds(seconds)
        bench.run(bench.worker.run(key_of(bench.submit()["id"]), Host(route, 600.0)))
        found = data(verbose(bench))
        shown.append({one: found[one] for one in ("lastSweepAt", "lastQueueAt", "lastAlarmAt")})
    empty = dict.fromkeys(shown[0])
    first, last = "2026-09-21T14:13:27.000Z", "2026-09-21T14:16:47.000Z"
    noted = [{name: at} if name else {} for at in (first, first, last)]
    assert shown == [empty | one for one in noted]


def test_operators_see_version_and_schema(bench: ApiBench) -> None:
    shown = data(verbose(bench))
    schema: dict[str, Any] = {"known": MIGRATION, "applied": None, "missing": [], "unknown": []}
    assert (shown["version"], shown["schema"]) == (VERSION, schema)
    bench.database.rows("CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT)")
    assert data(verbose(bench))["schema"] == schema | {"missing": list(MIGRATIONS)}
    for name in (*MIGRATIONS[1:], "0002_second.sql", MIGRATIONS[0]):
        bench.database.rows("INSERT INTO d1_migrations (name) VALUES (?)", name)
    assert data(verbose(bench))["schema"] == schema | {"applied": MIGRATION, "unknown": ["0002_second.sql"]}


def test_who_sees_them(keyed: ApiBench) -> None:
    assert not {"backlog", "version", "schema"} & set(data(verbose(keyed)))
    assert "backlog" not in data(verbose(keyed, "oo_none"))  # there are no keys yet
    admin, reader = keyed.make_key(Scope.ADMIN), keyed.make_key(Scope.READ)
    keyed.restart()
    assert "backlog" not in data(verbose(keyed))
    assert "backlog" in data(verbose(keyed, admin))
    assert verbose(keyed, admin[:-1]).status == 401
    assert verbose(keyed, reader).status == 403
    assert verbose(keyed, keyed.make_key(tenant="elsewhere")).status == 403
    # If the answer is the same for every caller, no key is checked.
    assert keyed.call("GET", "/api/async-status", headers=bearer("oo_none")).status == 200


def test_a_request_sweeps_when_cron_has_not(looking: ApiBench) -> None:
    lost = looking.submit()
    looking.settle()
    looking.pass_seconds(LEASE_SECONDS)
    looking.call("GET", "/api/tasks")
    looking.settle()
    assert looking.senders[0].sent == [lost["id"]] * 2


def test_an_isolate_looks_once_a_minute(looking: ApiBench) -> None:
    def calls(seconds: float) -> int:
        looking.pass_seconds(seconds)
        before = looking.database.batches
        looking.call("GET", "/api/tasks")
        looking.settle()
        return looking.database.batches - before - 1

    assert calls(0) > 0
    assert [calls(29), calls(29), calls(3), calls(0)] == [0, 0, 1, 0]


def test_public_calls_begin_no_sweep(looking: ApiBench) -> None:
    for path in ("/api/async-status", "/api/ai-status", "/nowhere"):
        looking.call("GET", path)
    looking.settle()
    assert looking.database.rows("SELECT * FROM seen") == []


@pytest.mark.parametrize("routes", [(Route.QUEUE, Route.DIRECT), (Route.DIRECT,)], ids=["refusing", "direct"])
def test_where_no_route_takes_it_the_first_poll_works(routes: tuple[Route, ...]) -> None:
    bench = ApiBench(routes=routes)
    task = bench.submit()
    for sender in bench.senders:
        sender.refuses = sender.route is not Route.DIRECT
    bench.pass_seconds(LEASE_SECONDS + 60)
    assert data(bench.call("GET", f"/api/tasks/{task['id']}?wait=1"))["status"] == "completed"


def test_a_poll_of_a_healthy_task_writes_nothing(bench: ApiBench) -> None:
    task = bench.submit()
    path = f"/api/tasks/{task['id']}?wait=1"

    def written() -> list[dict[str, Any]]:
        before = bench.database.rows("SELECT * FROM tasks")
        bench.call("GET", path)
        return [row for row in bench.database.rows("SELECT * FROM tasks") if row not in before]

    assert written() == []
    bench.claim(task["id"])
    bench.pass_seconds(LEASE_SECONDS - 2)
    assert written() == []
    bench.pass_seconds(LEASE_SECONDS)
    bench.complete(task["id"])
    assert written() == []
    assert bench.database.rows("SELECT * FROM seen") == []


def test_a_failed_look_harms_nobody(looking: ApiBench) -> None:
    looking.database.fail(NETWORK_LOST, times=10, passing=1)
    assert looking.call("GET", "/api/tasks").status == 200
    looking.settle()
    assert any('"event":"sweep_failed"' in line for line in looking.log_lines)


def test_a_sweep_that_cron_began_is_left_to_cron(looking: ApiBench) -> None:
    lost = looking.submit()
    looking.settle()
    looking.pass_seconds(LEASE_SECONDS - 1)
    looking.run(looking.store.due(1))
    before = looking.database.rows("SELECT * FROM seen")
    looking.pass_seconds(limits.SWEEP_MISSED_SECONDS - 1)
    looking.call("GET", "/api/tasks")
    looking.settle()
    assert looking.database.rows("SELECT * FROM seen") == before
    assert looking.senders[0].sent == [lost["id"]]


def test_crons_own_sweep_is_no_reason_to_refuse(bench: ApiBench) -> None:
    bench.run(bench.store.due(1))
    assert sweep(bench).status == 200


def test_the_end_of_pauses_has_a_limit_of_its_own(bench: ApiBench) -> None:
    """A monitor's sweep does not block it, and the other way round. Without `resume` a sweep ends no pause."""
    swept = data(bench.call("POST", "/api/sweep", {"resume": False}))
    assert "resumed" not in swept
    first = bench.call("POST", "/api/sweep", {"resume": True})
    assert (first.status, data(first)) == (200, swept | {"resumed": 0, "probed": []})
    for body in ({}, {"resume": True}):
        again = bench.call("POST", "/api/sweep", body)
        assert (again.status, data(again)["code"], again.headers["Retry-After"]) == (429, "too_soon", "30")
    bench.pass_seconds(30)
    assert bench.call("POST", "/api/sweep", {"resume": True}).status == 200
    assert bench.call("POST", "/api/sweep", {"resume": 1}).status == 422
    assert bench.call("POST", "/api/sweep", {"now": True}).status == 422


def test_a_model_that_does_not_answer_in_time(bench: ApiBench) -> None:
    """The answer comes after 25 s, and says that it is not known yet whether the model answers."""
    task_id = bench.submit("one")["id"]
    claim = bench.claim(task_id)
    bench.work(claim, {}, Release(600_000, 780_000), wait=Wait("model_away", None), away_waits=3)
    before = bench.loop.time()
    done = data(bench.call("POST", "/api/sweep", {"resume": True}))
    assert (done["resumed"], done["probed"]) == (1, [{"model": "demo-1", "answered": None}])
    assert 24 < bench.loop.time() - before < 27
    assert bench.senders[0].sent.count(task_id) == 2  # its submission, and the probe
    bench.settle()
