"""Prometheus can read the metrics of `GET /api/metrics`, and no counter ever decreases."""

from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.features.operate.metrics import Family, Point, write
from src.features.operate.tallies import TallyStore
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from tests.support.api_bench import ApiBench, bearer, data

PATHS = ("/api/metrics", "/api/history")
type Scrape = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def families(bench: ApiBench, headers: dict[str, str] | None = None) -> Any:
    bench.pass_seconds(0.001)
    reply = bench.call("GET", "/api/metrics", headers=headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return list(text_string_to_metric_families(reply.body))


def scrape(bench: ApiBench) -> Scrape:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(bench)
        for sample in family.samples
    }


def value(bench: ApiBench, name: str, **labels: str) -> float:
    return scrape(bench)[f"onceover_{name}", tuple(sorted(labels.items()))]


def test_prometheus_takes_it(bench: ApiBench) -> None:
    found = families(bench)
    names = [family.name for family in found]
    assert len(set(names)) == len(names)
    assert all(family.documentation and family.samples for family in found)
    kinds = {family.name: family.type for family in found}
    assert kinds["onceover_tasks"] == "gauge"
    assert kinds["onceover_tasks_ended"] == "counter"
    assert kinds["onceover_task_wait_seconds"] == "histogram"
    samples = [(sample.name, *sorted(sample.labels.items())) for family in found for sample in family.samples]
    assert len(set(samples)) == len(samples)
    zeros = [sample.value for family in found if family.type in {"counter", "histogram"} for sample in family.samples]
    assert len(zeros) > 50
    assert set(zeros) == {0}


def test_what_a_scrape_shows(bench: ApiBench) -> None:
    done, failed, cancelled, waiting = (bench.submit()["id"] for _ in range(4))
    bench.pass_seconds(3)
    bench.complete(done)
    bench.fail(failed)
    bench.call("POST", f"/api/tasks/{cancelled}/cancel")
    bench.begin(waiting, 1)
    bench.submit()
    bench.pass_seconds(40)
    bench.submit()
    found = scrape(bench)

    def shown(name: str, **labels: str) -> float:
        return found[f"onceover_{name}", tuple(sorted(labels.items()))]

    assert shown("tasks", status="pending", route="queue") == 2
    assert shown("tasks", status="processing", route="queue") == 1
    assert shown("oldest_pending_seconds") == 40.001
    for status in ("completed", "failed", "cancelled"):
        assert shown("tasks_ended_total", status=status, route="queue") == 1
        assert shown("tasks_ended_total", status=status, route="direct") == 0
    assert shown("model_calls_total", route="queue") == 3 + 5
    assert shown("model_calls_fruitless_total", route="queue") == 4
    assert shown("task_wait_seconds_count", route="queue") == 2
    assert shown("task_wait_seconds_bucket", route="queue", le="2") == 0
    assert shown("task_wait_seconds_bucket", route="queue", le="10") == 2
    assert shown("task_duration_seconds_bucket", route="queue", le="+Inf") == 3
    assert shown("task_duration_seconds_sum", route="queue") == 9
    assert shown("storage_bytes") > 0
    assert shown("storage_limit_bytes") == 450_000_000
    assert shown("quota_tasks", tenant="local") == 3
    assert shown("counted_until_timestamp_seconds") == (bench.now_ms() - 1) / 1000
    bench.call("POST", f"/api/tasks/{failed}/retry")
    bench.pass_seconds(1)
    bench.complete(failed)
    assert value(bench, "task_retries_total", route="queue") == 1
    assert value(bench, "tasks_ended_total", status="failed", route="queue") == 1
    assert value(bench, "tasks_ended_total", status="completed", route="queue") == 2


def test_quota_use(bench: ApiBench) -> None:
    bench.limit(characters_a_day_most=1_000, tasks_in_flight_most=7)
    bench.submit("x" * 30)
    assert value(bench, "quota_characters", tenant="local") == 30
    assert value(bench, "quota_characters_limit") == 1_000
    assert value(bench, "quota_tasks_limit") == 7
    bench.pass_seconds(86_400)
    assert ("onceover_quota_characters", (("tenant", "local"),)) not in scrape(bench)


def test_counters_never_fall(bench: ApiBench) -> None:
    before: Scrape = {}
    for _ in range(4):
        done, failed, gone, cancelled, running = (bench.submit()["id"] for _ in range(5))
        acts = (
            partial(bench.complete, done),
            partial(bench.fail, failed),
            partial(bench.fail, gone),
            partial(bench.call, "DELETE", f"/api/tasks/{gone}"),
            partial(bench.call, "POST", f"/api/tasks/{cancelled}/cancel"),
            partial(bench.call, "POST", f"/api/tasks/{failed}/retry"),
            partial(bench.call, "POST", "/api/sweep"),
            partial(bench.complete, failed),
            partial(bench.begin, running, 1),
            partial(bench.call, "DELETE", f"/api/tasks/{done}"),
            partial(bench.call, "DELETE", f"/api/tasks/{running}"),
        )
        for act in acts:
            bench.pass_seconds(31)
            act()
            after = scrape(bench)
            for sample, count in before.items():
                if sample[0].endswith(("_total", "_bucket", "_sum", "_count")):
                    assert after[sample] >= count, sample
            before = after
    ends = {
        dict(labels)["status"]: count
        for (name, labels), count in before.items()
        if name == "onceover_tasks_ended_total" and dict(labels)["route"] == "queue"
    }
    assert ends == {"completed": 8, "failed": 8, "cancelled": 8}


def test_a_scrape_says_what_it_costs(bench: ApiBench) -> None:
    bench.complete(bench.submit()["id"])
    found = scrape(bench)
    # In the bench one meter counts all calls; in production each invocation has a meter of its own.
    assert [found[f"onceover_scrape_rows_{what}", ()] for what in ("read", "written")] == list(
        bench.store.beside(TallyStore).rows
    )


@pytest.mark.parametrize("path", PATHS)
def test_operators_alone(keyed: ApiBench, path: str) -> None:
    reader, foreign = keyed.make_key(Scope.READ, Scope.WRITE), keyed.make_key(tenant="elsewhere")
    assert keyed.call("GET", path).status == 401
    for refused in (reader, foreign):
        assert keyed.call("GET", path, headers=bearer(refused)).status == 403
    assert keyed.database.rows("SELECT * FROM samples") == []
    assert keyed.call("GET", path, headers=bearer(keyed.make_key(Scope.ADMIN))).status == 200
    assert keyed.call("POST", path, headers=bearer(reader)).status == 405


def test_text_is_escaped() -> None:
    hostile = 'a"b\\c\nd'
    written = write([Family("one", "gauge", hostile, [Point({"x": hostile}, 1.5)]), Family("none", "gauge", "", [])])
    (family,) = text_string_to_metric_families(written)
    assert (family.documentation, family.samples[0].labels, family.samples[0].value) == (hostile, {"x": hostile}, 1.5)


def test_history(bench: ApiBench) -> None:
    bench.complete(bench.submit()["id"])
    bench.pass_seconds(20)
    late = bench.submit()["id"]
    bench.pass_seconds(30)
    bench.fail(late)
    bench.pass_seconds(0.001)
    shown = data(bench.call("GET", "/api/history?hours=1"))
    assert (shown["hours"], shown["bucketSeconds"]) == (1, 300)
    (five,) = shown["buckets"]
    assert [five[name] for name in ("completed", "failed", "cancelled")] == [1, 1, 0]
    assert (five["modelCalls"], five["fruitlessCalls"]) == (8, 4)
    assert five["failures"] == [{"code": "model_unavailable", "tasks": 1}]
    assert five["backlog"] == {"pending": 0, "processing": 0, "oldestPendingSeconds": None}
    assert (five["took"]["count"], five["took"]["sumMs"]) == (2, 30_000)
    assert five["took"]["upTo"][:4] == [1, 1, 1, 2]
    assert five["took"]["p95Ms"] == 28_000
    bench.pass_seconds(3_600)
    bench.submit()
    shown = data(bench.call("GET", "/api/history?hours=1"))
    assert [(five["completed"], five["backlog"]["pending"]) for five in shown["buckets"]] == [(0, 1)]
    assert len(data(bench.call("GET", "/api/history"))["buckets"]) == 2


def test_a_fold_that_fails_costs_the_scrape_nothing(bench: ApiBench) -> None:
    bench.complete(bench.submit()["id"])
    bench.database.fail("string or blob too big: SQLITE_TOOBIG")
    assert value(bench, "tasks_ended_total", status="completed", route="queue") == 0
    assert any("fold_failed" in line for line in bench.log_lines)
    assert value(bench, "tasks_ended_total", status="completed", route="queue") == 1


def test_a_sweep_adds_up(bench: ApiBench) -> None:
    bench.complete(bench.submit()["id"])
    bench.pass_seconds(0.001)
    assert bench.call("POST", "/api/sweep").status == 200
    assert bench.database.rows("SELECT ended FROM tallies WHERE at = 0") == [{"ended": 1}]


def test_hours(bench: ApiBench) -> None:
    assert data(bench.call("GET", "/api/history"))["hours"] == 24
    for text in ("0", "49", "1.5", "many"):
        refused = bench.call("GET", f"/api/history?hours={text}")
        assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "hours")
    assert data(bench.call("GET", f"/api/history?hours={limits.HISTORY_SECONDS / 3600:.0f}"))["hours"] == 48
