"""`--tenant`, `tenant export` and `tenant erase`: which tenant they act on, where they continue, what they report."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_api import LOST, TASK_ID, Answer, Asked, FakeApi, Json, event, problem, task
from tests.unit.cli.test_cli_commands import Runs, conforms

PATH = f"/api/tasks/{TASK_ID}"
IDS = [f"01a213be-000{number}-762c-b9e4-99bccab77cf8" for number in range(5)]


ONE_TASK = [
    ["status", TASK_ID],
    ["result", TASK_ID],
    ["watch", TASK_ID],
    ["chunks", TASK_ID],
    ["deliveries", TASK_ID],
    ["cancel", TASK_ID],
    ["cancel", TASK_ID, TASK_ID],
    ["cancel", "--all"],
    ["retry", TASK_ID],
    ["retry", "--failed"],
    ["delete", TASK_ID],
    ["list"],
    ["keys", "list"],
    ["keys", "revoke", "0123456789abcdef"],
]


@pytest.mark.parametrize("command", ONE_TASK, ids=" ".join)
def test_each_request_names_the_tenant(command: list[str], fake: FakeApi, run: Runs) -> None:
    over = task()
    fake.on("GET", "/api/keys", {"keys": []}).on("DELETE", "/api/keys/0123456789abcdef", Answer(204))
    fake.on("GET", PATH, task("pending") if command[0] == "watch" else over).on("DELETE", PATH, Answer(204))
    fake.on("GET", f"{PATH}/events", lambda _asked: Answer(stream=[event("end", over)]))
    fake.on("GET", f"{PATH}/chunks", {"chunks": [], "nextCursor": None})
    fake.on("GET", f"{PATH}/deliveries", {"deliveries": []})
    fake.on("POST", f"{PATH}/cancel", task("cancelled")).on("POST", f"{PATH}/retry", Answer(202, task("pending")))
    fake.on("GET", "/api/tasks", {"tasks": [over], "nextCursor": None})
    for path, name in (("cancel", "cancelled"), ("retry", "retried")):
        fake.on(
            "POST", f"/api/tasks/{path}", {"tasks": 1, "minimumCalls": 1, "maximumCalls": 3, name: 1, "more": False}
        )
    assert run(*command, "--tenant", "acme")[0] == 0
    assert fake.asked
    assert {asked.query.get("tenant") for asked in fake.asked} == {"acme"}
    fake.asked.clear()
    assert run(*command)[0] == 0
    assert {asked.query.get("tenant") for asked in fake.asked} == {None}


@pytest.mark.parametrize("key", [None, "oo_key"])
def test_where_no_keys_are_checked_there_is_one_tenant(
    key: str | None, fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key `tenant list` asks for no other tenant, and the messages about keys say that none is checked."""
    monkeypatch.delenv("ONCEOVER_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("ONCEOVER_KEY", key)
    fake.on("GET", "/api/tenants", {"hours": 24, "tenants": [], "nextCursor": None}).on(
        "GET", "/api/keys", {"keys": []}
    )
    assert run("tenant", "list")[0] == 0
    assert fake.asked[-1].query.get("tenant") == (None if key is None else "*")
    assert ("checks no keys" in run("keys", "list")[2]) == (key is None)


@pytest.mark.parametrize("command", [["cancel", "--all"], ["delete", TASK_ID], ["list"]], ids=" ".join)
def test_a_tenant_without_a_name_is_none(command: list[str], fake: FakeApi, run: Runs) -> None:
    """`--tenant "$NAME"` with an empty variable is refused, so it cannot act on the key's own tasks."""
    status, _, err = run(*command, "--tenant", "")
    assert (status, fake.asked) == (1, [])
    assert "--tenant: name a tenant" in err


class Tasks:
    """A tenant's tasks as the API lists them, newest first, two on a page."""

    def __init__(self, fake: FakeApi, ids: list[str]) -> None:
        self.ids, self.fake = ids, fake
        self.lost: set[str] = set()
        fake.on("GET", "/api/tasks", self._page).on("POST", "/api/tasks/cancel", self._cancel)
        for one in IDS:
            fake.on("GET", f"/api/tasks/{one}", partial(self._read, one))
            fake.on("GET", f"/api/tasks/{one}/deliveries", {"deliveries": [{"id": f"of {one}"}]})
            fake.on("DELETE", f"/api/tasks/{one}", partial(self.erase, one))

    def _page(self, asked: Asked) -> Json:
        behind = asked.query.get("cursor", "~")
        found = sorted((one for one in self.ids if one < behind), reverse=True)
        made = {one: f"2026-11-25T10:00:0{IDS.index(one)}.000Z" for one in found}
        if before := asked.query.get("createdBefore"):
            found = [one for one in found if made[one] < before]
        shown = [task(id=one, createdAt=made[one]) for one in found[:2]]
        return {"tasks": shown, "nextCursor": found[1] if len(found) > 2 else None}

    def _read(self, one: str, _asked: Asked) -> Any:
        if one in self.lost:
            return problem(404, "not_found")
        return task("pending" if one == IDS[0] else "completed", id=one, input=f"text of {one}", chunks=[])

    def _cancel(self, asked: Asked) -> Json:
        return {"tasks": 1, "more": False} if asked.body.get("dryRun") else {"cancelled": 1, "more": False}

    def erase(self, one: str, _asked: Asked) -> Any:
        if one not in self.ids:
            return problem(404, "not_found")
        self.ids.remove(one)
        return Answer(204)


def lines(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_export_has_everything(fake: FakeApi, run: Runs, tmp_path: Path) -> None:
    tasks, target = Tasks(fake, IDS[:4]), tmp_path / "acme.jsonl"
    tasks.lost = {IDS[2]}
    calls = {None: (["a", "b"], "0.1"), "0.1": (["c"], None)}
    fake.on(
        "GET",
        f"/api/tasks/{IDS[3]}/attempts",
        lambda asked: dict(zip(("attempts", "nextCursor"), calls[asked.query.get("cursor")], strict=True)),
    )
    status, out, err = run("tenant", "export", "acme", "--output", str(target))
    assert (status, out) == (0, "")
    assert "3 tasks exported; 1 unfinished" in err
    assert "1 erased before they could be read" in err
    begin, *found, end = lines(target)
    assert begin == {"kind": "begin", "tenant": "acme", "newest": IDS[3]}
    assert [(one["kind"], one.get("id") or one.get("task", {}).get("id")) for one in found] == [
        ("task", IDS[3]),
        ("gone", IDS[2]),
        ("page", None),
        ("task", IDS[1]),
        ("task", IDS[0]),
    ]
    assert found[0]["task"]["input"] == f"text of {IDS[3]}"
    assert found[0]["deliveries"] == [{"id": f"of {IDS[3]}"}]
    assert [one["attempts"] for one in found if one["kind"] == "task"] == [["a", "b", "c"], [], []]
    assert end == {"kind": "end", "tasks": 3, "gone": 1, "goingOn": 1, "newer": 0, "files": 0}
    assert {asked.query["tenant"] for asked in fake.asked} == {"acme"}
    status, out, _ = run("tenant", "export", "acme")
    assert [json.loads(line) for line in out.splitlines()] == [begin, *found, end]


def test_an_export_has_the_batches_and_the_list_of_files(fake: FakeApi, run: Runs, tmp_path: Path) -> None:
    Tasks(fake, IDS[:1])
    Files(fake, "file-1", "file-2", "file-3")
    fake.on("GET", f"/api/tasks/{IDS[0]}", task(id=IDS[0], kind="batch", batch="batch_7"))
    fake.on("GET", "/v1/batches/batch_7", {"id": "batch_7", "status": "completed"})
    target = tmp_path / "acme.jsonl"
    status, _, err = run("tenant", "export", "acme", "--output", str(target))
    assert status == 0
    assert "1 task exported; 3 files listed, whose bytes are at /v1/files/ID/content" in err
    _, exported, *files, end = lines(target)
    assert exported["batch"] == {"id": "batch_7", "status": "completed"}
    assert files == [{"kind": "file", "file": {"id": f"file-{number}"}} for number in (3, 2, 1)]
    assert end["files"] == 3


def test_an_export_goes_on_where_it_stopped(fake: FakeApi, run: Runs, tmp_path: Path) -> None:
    tasks, target = Tasks(fake, IDS[:4]), tmp_path / "acme.jsonl"
    fake.on("GET", f"/api/tasks/{IDS[0]}", problem(401, "unauthenticated"))
    status, _, err = run("tenant", "export", "acme", "--output", str(target))
    assert status == 1
    assert f"Repeat the command to continue {target}" in err
    assert lines(target)[-1]["task"]["id"] == IDS[1]
    with target.open("a") as file:
        file.write('{"kind":"task","ta')
    tasks.ids.append(IDS[4])
    fake.on("GET", f"/api/tasks/{IDS[0]}", task(id=IDS[0]))
    fake.asked.clear()
    status, _, err = run("tenant", "export", "acme", "--output", str(target))
    assert status == 0
    assert "Continuing after 2 tasks" in err
    assert not fake.requests("GET", f"/api/tasks/{IDS[3]}")
    assert [one["task"]["id"] for one in lines(target) if one["kind"] == "task"] == IDS[3::-1]
    assert lines(target)[-1] == {"kind": "end", "tasks": 4, "gone": 0, "goingOn": 0, "newer": 1, "files": 0}
    fake.asked.clear()
    assert "is already a complete export" in run("tenant", "export", "acme", "--output", str(target))[2]
    assert fake.asked == []


@pytest.mark.parametrize("there", ["something else\n", '{"kind":"begin","tenant":"beta","newest":null}\n'])
def test_a_file_of_something_else_is_left_alone(there: str, fake: FakeApi, run: Runs, tmp_path: Path) -> None:
    Tasks(fake, IDS[:4])
    target = tmp_path / "file"
    target.write_text(there)
    status, _, err = run("tenant", "export", "acme", "--output", str(target))
    assert (status, target.read_text()) == (1, there)
    assert "is not an export of tenant acme" in err


def test_all_tasks_are_erased(fake: FakeApi, run: Runs) -> None:
    """`tenant erase` cancels unfinished tasks first."""
    tasks = Tasks(fake, IDS[:4])
    status, out, err = run("tenant", "erase", "acme", "--yes", "-o", "json")
    assert (status, conforms("tenant-erase", out)) == (0, {"tenant": "acme", "erased": 4, "gone": 0, "newer": 0})
    assert tasks.ids == []
    assert "the tenant's keys" in err
    assert fake.requests("POST", "/api/tasks/cancel")[0].body == {"createdBefore": "2026-11-25T10:00:03.001Z"}
    assert {asked.query["tenant"] for asked in fake.asked} == {"acme"}
    assert run("tenant", "erase", "acme", "--yes")[:2] == (0, "0 tasks erased\n")


class Files:
    """A tenant's files as the API lists them, newest first, two on a page."""

    def __init__(self, fake: FakeApi, *ids: str) -> None:
        self.ids = list(ids)
        fake.on("GET", "/v1/files", self._page)
        for one in ids:
            fake.on("DELETE", f"/v1/files/{one}", partial(self.erase, one))

    def _page(self, asked: Asked) -> Json:
        assert asked.query["tenant"] == "acme"
        found = [one for one in sorted(self.ids, reverse=True) if one < asked.query.get("after", "~")]
        return {"object": "list", "data": [{"id": one} for one in found[:2]], "has_more": len(found) > 2}

    def erase(self, one: str, _asked: Asked) -> Any:
        if one not in self.ids:
            return problem(404, "not_found")
        self.ids.remove(one)
        return {"id": one, "object": "file", "deleted": True}


@pytest.mark.parametrize("tasks", [0, 4])
def test_the_files_of_a_tenant_are_erased_after_its_tasks(fake: FakeApi, run: Runs, tasks: int) -> None:
    Tasks(fake, IDS[:tasks])
    files = Files(fake, "file-1", "file-2", "file-3", "file-4", "file-5")
    fake.on("DELETE", "/v1/files/file-2", LOST, problem(503, "files_unavailable"), partial(files.erase, "file-2"))
    status, out, err = run("tenant", "erase", "acme", "--yes")
    assert (status, out, files.ids) == (0, f"{tasks} tasks erased\n", [])
    assert "5 files erased. These stay" in err
    order = [asked.path for asked in fake.asked if asked.method == "DELETE"]
    assert [path.startswith("/api/tasks/") for path in order] == sorted(
        (path.startswith("/api/tasks/") for path in order), reverse=True
    )


def test_it_asks_first(fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = Tasks(fake, IDS[:4])
    status, _, err = run("tenant", "erase", "acme")
    assert status == 1
    assert "confirm with --yes" in err
    assert run("tenant", "erase", "*", "--yes")[0] == 1
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_texts, **_options: "acne")
    assert run("tenant", "erase", "acme")[0] == 1
    assert tasks.ids == IDS[:4]
    monkeypatch.setattr("typer.prompt", lambda *_texts, **_options: "acme")
    assert run("tenant", "erase", "acme")[:2] == (0, "4 tasks erased\n")
