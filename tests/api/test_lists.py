"""Lists of tasks: times, filters, walks behind cursors, searches, and counts by status."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import LOCAL, new_task_id, task_key_of
from src.kernel.domain.keys import Scope
from tests.support.api_bench import START_MS, ApiBench, bearer, data

START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=START_MS)


def moment(milliseconds: float, zone: str = "Z") -> str:
    """Write a time in RFC 3339, with microseconds, that is this many milliseconds after the bench's start."""
    return (START + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + zone


def listed(bench: ApiBench, **query: object) -> list[str]:
    reply = bench.call("GET", f"/api/tasks?{urlencode(query)}")
    assert reply.status == 200, reply
    return [task["id"] for task in data(reply)["tasks"]]


def walk(bench: ApiBench, headers: dict[str, str] | None = None, **query: object) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list, following `nextCursor` to the end."""
    cursor: dict[str, object] = {}
    while True:
        reply = bench.call("GET", f"/api/tasks?{urlencode(query | cursor)}", headers=headers)
        assert reply.status == 200, reply
        page = data(reply)
        yield page
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


@pytest.fixture
def three(bench: ApiBench) -> list[str]:
    made = []
    for _ in range(3):
        made.append(bench.submit()["id"])
        bench.run(asyncio.sleep(0.001))
    return made


@pytest.mark.parametrize(
    ("after", "expected"),
    [(-1, [2, 1, 0]), (0, [2, 1]), (0.5, [2, 1]), (0.999, [2, 1]), (1, [2]), (1.001, [2]), (2, []), (2.5, [])],
)
def test_created_after(bench: ApiBench, three: list[str], after: float, expected: list[int]) -> None:
    assert listed(bench, createdAfter=moment(after)) == [three[at] for at in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-21T14:13:20.001Z", [2]),
        ("2026-09-21t14:13:20.001z", [2]),
        ("2026-09-21 14:13:20.001Z", [2]),
        ("2026-09-21T16:13:20.001+02:00", [2]),
        ("2026-09-21T04:43:20.001-09:30", [2]),
        ("2026-09-22T14:12:20.001+23:59", [2]),
        ("2026-09-21T14:13:20Z", [2, 1]),
        ("2026-09-21T14:13:19Z", [2, 1, 0]),
        ("2026-09-21T14:13:20.0009Z", [2, 1]),
        ("1970-01-01T00:00:00Z", [2, 1, 0]),
        ("9999-12-31T23:59:59.999999Z", []),
    ],
)
def test_times_as_rfc_3339_has_them(bench: ApiBench, three: list[str], text: str, expected: list[int]) -> None:
    assert listed(bench, createdAfter=text) == [three[at] for at in expected]


NO_TIMES = [
    *("yesterday", "1790000000000", "9" * 10_000, "2026-09-21", "2026-09-21T24:00:01Z", "2026-09-21T14:13Z"),
    *(f"2026-09-21T14:13:20{zone}" for zone in ("", "+0200", "+02", ".Z", ",5Z", "+24:00", "Z\n")),
    *(f"{day}T00:00:00Z" for day in ("2026-13-01", "2026-02-29", "2026-W39-1", "٢٠٢٦-09-21", " 2026-09-21")),
    *("2026-09-21T14:13:60Z", "9999-12-31T23:59:59-23:59:59"),
]


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("name", ["createdAfter", "createdBefore"])
def test_what_is_no_time(bench: ApiBench, name: str, text: str) -> None:
    reply = bench.call("GET", f"/api/tasks?{name}={quote(text)}")
    problem = data(reply)
    assert (reply.status, problem["code"], problem["errors"][0]["field"]) == (422, "invalid_fields", name)
    assert bench.database.batches == 0


def fill(bench: ApiBench, statuses: str, tenant: str = LOCAL) -> list[str]:
    """Write completed (c) and pending (p) tasks, a millisecond apart, oldest first. Return their ids."""
    template = bench.submit("x")["id"]
    columns = [str(column["name"]) for column in bench.database.rows("PRAGMA table_info(tasks)")]
    ids = [new_task_id(START_MS + 1_000 + at, at.to_bytes(10)) for at in range(len(statuses))]
    ended = "CASE WHEN json_each.value ->> 1 = 'c' THEN {} ELSE {} END"
    values = {
        "id": "json_each.value ->> 0",
        "status": ended.format("'completed'", "'pending'"),
        "completed": ended.format("total", "0"),
        "finished_at": ended.format("created_at", "NULL"),
    }
    chosen = ", ".join(values.get(name, f"tasks.{name}") for name in columns)
    rows = json.dumps([[task_key_of(tenant, id_), status] for id_, status in zip(ids, statuses, strict=True)])
    bench.database.rows(
        f"INSERT INTO tasks ({', '.join(columns)}) SELECT {chosen} FROM tasks, json_each(?1) WHERE tasks.id = ?2",  # noqa: S608
        rows,
        task_key_of(LOCAL, template),
    )
    bench.database.rows("DELETE FROM tasks WHERE id = ?", task_key_of(LOCAL, template))
    return ids


WALK = limits.LIST_WALK_MOST
LAYOUTS = {
    "none": "p" * (2 * WALK + 7),
    "oldest": "c" + "p" * (2 * WALK + 6),
    "newest": "p" * (2 * WALK + 6) + "c",
    "at the walk's end": "p" * WALK + "c" + "p" * (WALK - 1),
    "behind the walk's end": "p" * (WALK - 1) + "c" + "p" * WALK,
    "exactly one walk": "c" + "p" * (WALK - 1),
    "exactly two walks": "c" + "p" * (2 * WALK - 1),
    "one more than a walk": "c" + "p" * WALK,
    "a block across the end": "p" * (WALK - 30) + "c" * 60 + "p" * (WALK - 30),
    "every seventh": ("c" + "p" * 6) * (3 * WALK // 7),
    "all": "c" * (WALK + 20),
    "as many as a page, then none": "p" * WALK + "c" * 100 + "p" * 50,
    "one more than a page": "p" * WALK + "c" * 101 + "p" * 50,
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_one_status_among_many(bench: ApiBench, layout: str, limit: int) -> None:
    ids = fill(bench, LAYOUTS[layout])
    matches = [id_ for id_, status in zip(ids, LAYOUTS[layout], strict=True) if status == "c"][::-1]
    pages = list(walk(bench, status="completed", limit=limit))
    assert [task["id"] for page in pages for task in page["tasks"]] == matches
    assert all(len(page["tasks"]) <= limit for page in pages)
    assert len(pages) <= len(matches) // limit + len(ids) // WALK + 2


def test_tasks_come_and_go_under_a_walk(bench: ApiBench) -> None:
    ids = fill(bench, ("c" + "p" * 4) * 300)
    matches, seen, gone = ids[::5], [], set()
    for number, page in enumerate(walk(bench, status="completed", limit=9)):
        seen += [task["id"] for task in page["tasks"]]
        bench.submit()
        left = [id_ for id_ in matches if id_ not in seen and id_ not in gone]
        # the test also erases the task that the cursor names, and the next task
        for id_ in {*seen[-1:], *left[-1:], *left[: number % 3]}:
            bench.call("DELETE", f"/api/tasks/{id_}")
            if id_ not in seen:
                gone.add(id_)
    assert seen == [id_ for id_ in matches[::-1] if id_ not in gone]


OF_A_TASK = [
    *(("GET", rest) for rest in ("", "?wait=5", "?include=chunks", "/chunks")),
    *(("HEAD", ""), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")),
]


@pytest.mark.parametrize(("method", "rest"), OF_A_TASK)
@pytest.mark.parametrize("state", ["pending", "processing", "completed", "failed", "cancelled", "overdue"])
def test_another_tenants_task_is_an_unknown_one(keyed: ApiBench, method: str, rest: str, state: str) -> None:
    ours, theirs = bearer(keyed.make_key()), bearer(keyed.make_key(tenant="theirs"))
    task = data(keyed.call("POST", "/api/tasks", {"input": "one\n\ntwo\n\nthree", "deadlineSeconds": 60}, ours))
    match state:
        case "processing":
            keyed.begin(task["id"], 1)
        case "completed":
            keyed.complete(task["id"])
        case "failed":
            keyed.fail(task["id"])
        case "cancelled":
            keyed.call("POST", task["links"]["cancel"], headers=ours)
        case "overdue":
            keyed.run(asyncio.sleep(60))
    tables = ("tasks", "texts", "segments", "failures", "submissions")
    before = [keyed.database.rows(f"SELECT * FROM {table}") for table in tables]  # noqa: S608
    unknown = new_task_id(START_MS, b"0123456789")
    keyed.call("GET", "/api/tasks", headers=theirs)
    costs = []
    for id_ in (task["id"], unknown):
        began, batches = keyed.loop.time(), keyed.database.batches
        reply = keyed.call(method, f"/api/tasks/{id_}{rest}", headers=theirs)
        costs.append((reply, keyed.loop.time() - began, keyed.database.batches - batches))
    assert costs[0] == costs[1]
    assert costs[0][0].status == 404
    assert [keyed.database.rows(f"SELECT * FROM {table}") for table in tables] == before  # noqa: S608


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


def test_counts_do_not_go_with_all_tenants(keyed: ApiBench) -> None:
    """Counts of tasks by status cannot be requested for all tenants at once, since each counts one tenant's tasks."""
    operator = bearer(keyed.make_key(Scope.READ, Scope.OPERATOR))
    assert keyed.call("GET", "/api/tasks?tenant=*&counts=true", headers=operator).status == 422
    assert keyed.call("GET", "/api/tasks?tenant=theirs&counts=true", headers=operator).status == 200


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
