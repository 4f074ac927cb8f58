"""GET /api/tasks?q=&code=&model=&route=&counts=: what a search finds, what it reads, and what it must not find."""

from typing import Any
from urllib.parse import urlencode

import pytest

from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from tests.api.test_lists import fill, walk
from tests.support.api_bench import ApiBench, bearer, data

WALK = limits.LIST_WALK_MOST


def found(bench: ApiBench, **query: object) -> list[str | None]:
    return [task["name"] for page in walk(bench, None, **query) for task in page["tasks"]]


@pytest.fixture
def named(bench: ApiBench) -> list[dict[str, Any]]:
    return [
        bench.submit("Minutes of March\nAll were there."),
        bench.submit("text", metadata={"name": "Report 100%_done"}),
        bench.submit("text", metadata={"title": "ÜBERSICHT Quartal"}),
        bench.submit("text", metadata={"label": "三月の報告"}),
        bench.submit("text", metadata={"name": 5, "other": "Minutes"}),
        bench.submit("\n \n  second line \t first\nMinutes", metadata={"name": "  "}),
    ]


def test_each_task_shows_its_name(bench: ApiBench, named: list[dict[str, Any]]) -> None:
    names = ["Minutes of March", "Report 100%_done", "ÜBERSICHT Quartal", "三月の報告", "text", "second line first"]
    assert [task["name"] for task in named] == names
    assert [task["name"] for task in data(bench.call("GET", "/api/tasks"))["tasks"]] == names[::-1]
    assert [data(bench.call("GET", f"/api/tasks/{task['id']}"))["name"] for task in named] == names


def test_the_name_outlives_the_text(bench: ApiBench) -> None:
    """The input of a completed task goes, and its first line unless it names the task; the name stays."""
    named, unnamed = bench.submit("secret", metadata={"name": "kept"}), bench.submit("Minutes of March\nsecret")
    for task in (named, unnamed):
        bench.complete(task["id"])
    assert "secret" not in str([bench.database.rows(f"SELECT * FROM {table}") for table in ("tasks", "texts")])  # noqa: S608
    assert [task["name"] for task in data(bench.call("GET", "/api/tasks"))["tasks"]] == ["Minutes of March", "kept"]
    assert found(bench, q="KEPT") == ["kept"]
    assert found(bench, q="of march") == ["Minutes of March"]
    assert bench.call("DELETE", f"/api/tasks/{unnamed['id']}").status == 204
    assert "Minutes" not in str(bench.database.rows("SELECT * FROM tasks"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x" * 500, "x" * limits.FIRST_LINE_CHARS_MOST),
        ("\n" * limits.FIRST_LINE_WITHIN_CHARS + "late", None),
        ("\n" * (limits.FIRST_LINE_WITHIN_CHARS - 1) + "late", "l"),
        ("a  b\tc", "a b c"),
        ("a\r\nb", "a"),
        ("🦜" * 200, "🦜" * limits.FIRST_LINE_CHARS_MOST),
    ],
)
def test_the_first_line(bench: ApiBench, text: str, name: str | None) -> None:
    assert bench.submit(text)["name"] == name


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"q": "x" * 101}, "q"),
        ({"q": "a\0b"}, "q"),
        ({"code": "no_such_code"}, "code"),
        ({"code": "not_found"}, "code"),
        ({"route": "teleport"}, "route"),
        ({"model": "m" * 201}, "model"),
        ({"counts": "yes"}, "counts"),
    ],
)
def test_bad_filters_are_refused(bench: ApiBench, query: dict[str, str], field: str) -> None:
    batches = bench.database.batches
    reply = bench.call("GET", f"/api/tasks?{urlencode(query)}")
    assert (reply.status, [error["field"] for error in data(reply)["errors"]]) == (422, [field])
    assert bench.database.batches == batches


def counts(bench: ApiBench, **query: object) -> dict[str, Any]:
    reply = bench.call("GET", f"/api/tasks?{urlencode({**query, 'counts': 'true'})}")
    assert reply.status == 200, reply
    shown: dict[str, Any] = data(reply)["counts"]
    return shown


def test_counts_by_status(bench: ApiBench, named: list[dict[str, Any]]) -> None:
    bench.fail(named[0]["id"])
    bench.complete(named[1]["id"])
    none = {"pending": 0, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0, "among": 6, "all": True}
    everything = none | {"pending": 4, "completed": 1, "failed": 1}
    assert counts(bench) == everything == counts(bench, status="failed", limit=1)
    cursor = data(bench.call("GET", "/api/tasks?limit=1"))["nextCursor"]
    assert counts(bench, cursor=cursor) == everything
    assert counts(bench, q="minutes") == none | {"failed": 1}
    assert counts(bench, q=named[0]["id"]) == none | {"failed": 1, "among": 1}
    assert counts(bench, code="model_unavailable", status="pending") == none | {"failed": 1}
    assert counts(bench, createdBefore="2020-01-01T00:00:00Z") == none | {"among": 0}
    assert "counts" not in data(bench.call("GET", "/api/tasks?counts=false"))


@pytest.mark.parametrize("tasks", [WALK - 1, WALK, WALK + 1])
def test_counts_are_bounded(bench: ApiBench, tasks: int) -> None:
    fill(bench, "c" + "p" * (tasks - 1))
    shown = counts(bench)
    among = min(tasks, WALK)
    assert (shown["among"], shown["all"]) == (among, tasks < WALK)
    assert shown["pending"] + shown["completed"] == among


@pytest.mark.parametrize("query", ["q=secret", "q=s", "model=other", "code=model_refused", "counts=true", "q=nothing"])
def test_a_key_without_read_finds_nothing(keyed: ApiBench, query: str) -> None:
    writer, reader = bearer(keyed.make_key(Scope.WRITE)), bearer(keyed.make_key(Scope.READ))
    before = keyed.call("GET", f"/api/tasks?{query}", headers=writer)
    made = keyed.call("POST", "/api/tasks", {"input": "secret", "metadata": {"name": "secret"}}, headers=writer)
    after = keyed.call("GET", f"/api/tasks?{query}", headers=writer)
    assert (before, before.status) == (after, 403)
    assert data(made)["name"] is None
    assert "secret" not in made.body
    assert data(keyed.call("GET", "/api/tasks?q=secret", headers=reader))["tasks"][0]["name"] == "secret"


def test_counts_do_not_go_with_all_tenants() -> None:
    """Counts of tasks by status cannot be requested for all tenants at once, since each counts one tenant's tasks."""
    bench = ApiBench(keys=True)
    operator = bearer(bench.make_key(Scope.READ, Scope.OPERATOR))
    assert bench.call("GET", "/api/tasks?tenant=*&counts=true", headers=operator).status == 422
    assert bench.call("GET", "/api/tasks?tenant=theirs&counts=true", headers=operator).status == 200
    bench.close()


def test_the_longest_search(bench: ApiBench) -> None:
    name = "🦜" * limits.SEARCH_CHARS_MOST
    bench.submit("x", metadata={"name": f"a{name}b"})
    assert found(bench, q=name) == [f"a{name}b"]


def test_a_failed_and_a_cancelled_task_keep_their_names(bench: ApiBench) -> None:
    failed, cancelled = bench.submit("failed one"), bench.submit("cancelled one")
    bench.fail(failed["id"])
    bench.call("POST", f"/api/tasks/{cancelled['id']}/cancel")
    assert found(bench, q="one") == ["cancelled one", "failed one"]


def test_a_search_by_id_reads_no_other_task(bench: ApiBench) -> None:
    ids = fill(bench, "p" * (WALK + 20))
    for q in (ids[0], ids[0][:24]):
        (page,) = walk(bench, q=q)
        assert [task["id"] for task in page["tasks"]] == [ids[0]] if q == ids[0] else ids[0] in str(page)
