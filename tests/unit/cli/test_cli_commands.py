"""The commands of `onceover` against a scripted server: their requests, their output and their exit status."""

import importlib
import io
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
import typer

from onceover_cli.commands import flags
from onceover_cli.exits import Exit, exit_of
from onceover_cli.main import app
from tests.support.dev_server import ROOT
from tests.support.fake_api import LOST, TASK_ID, Answer, Asked, FakeApi, chunk, event, failed, problem, task
from tests.support.fake_batches import FakeBatches, batch

jsonschema: Any = importlib.import_module("jsonschema_rs")

PATH = f"/api/tasks/{TASK_ID}"
SCHEMA = json.loads((ROOT / "cli" / "onceover_cli" / "output.schema.json").read_text("utf-8"))
PLAN = {
    "request": {"model": "demo-1"},
    "chunks": [{"index": 0, "start": 0, "end": 4}],
    "minimumCalls": 1,
    "characters": 4,
    "estimatedTokens": 1,
}
KEY = {
    "id": "0123456789abcdef",
    "label": "nightly",
    "scopes": ["read"],
    "createdAt": "2026-11-25T10:00:00.000Z",
    "expiresAt": None,
}
ENDPOINT = {
    "id": "we_1",
    "object": "webhook_endpoint",
    "created_at": 1_795_600_000,
    "name": "nightly",
    "url": "https://hooks.example.com/x",
    "event_types": ["task.completed"],
    "status": "enabled",
}
TRIED = {"object": "webhook_endpoint.test", "event_type": "task.completed", "success": True, "status_code": 204}
HOOKS = "/v1/webhook_endpoints"
STATUS: dict[str, Any] = {
    "status": "healthy",
    "service": "Cloudflare Queues Async Processing",
    "architecture": "Workers + D1 + Queues",
    "queueCheck": {"hasAIQueue": True, "hasAIDLQ": True, "hasDurableObjects": True},
}


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("祝福\r\n", "utf-8", newline="")
    return str(path)


type Ran = tuple[int, str, str]
type Runs = Callable[..., Ran]


def conforms(name: str, output: str) -> Any:
    (line,) = output.splitlines()
    document = json.loads(line)
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}).validate(document)
    return document


def test_every_option_of_the_request_goes_where_the_api_has_it(fake: FakeApi, run: Runs, text: str, tmp_path: Path):
    fake.on("POST", "/api/tasks", Answer(202, task("pending")))
    (tmp_path / "ask.txt").write_text("List the risks.")
    options = (
        *("--instructions", f"@{tmp_path / 'ask.txt'}", "--reduce", "merge", "--chunk-chars", "500"),
        *("--chunk-overlap", "20", "--context-chars", "0", "--no-headings", "--model", "m"),
        *("--max-output-tokens", "99", "--temperature", "0.5"),
        *("--model-option", "top_p=0.9", "--model-option", "stop=END", "--metadata", "book=emma"),
        *("--metadata", '{"year": 1815}', "--deadline", "2h", "--max-calls", "7", "--idempotency-key", "mine"),
    )
    status, out, _ = run("submit", text, *options)
    assert (status, out) == (0, f"{TASK_ID}\n")
    (asked,) = fake.asked
    assert asked.body == {
        "input": "祝福\r\n",
        "instructions": "List the risks.",
        "reduce": "merge",
        "chunk": {"maxChars": 500, "overlapChars": 20},
        "contextChars": 0,
        "headings": False,
        "model": "m",
        "maxOutputTokens": 99,
        "temperature": 0.5,
        "modelOptions": {"top_p": 0.9, "stop": "END"},
        "metadata": {"book": "emma", "year": 1815},
        "deadlineSeconds": 7200.0,
        "maxModelCalls": 7,
    }
    assert asked.headers["idempotency-key"] == "mine"


def test_what_is_not_said_is_not_sent(fake: FakeApi, run: Runs, text: str):
    """A submission sends no field for an option that was not given, so the deployment's defaults apply."""
    fake.on("POST", "/api/tasks", Answer(202, task("pending")))
    assert [run("submit", text)[0], run("submit", text)[0]] == [0, 0]
    assert [asked.body for asked in fake.asked] == [{"input": "祝福\r\n"}] * 2
    keys = {asked.headers["idempotency-key"] for asked in fake.asked}
    assert len(keys) == 2
    assert all(re.fullmatch(r"onceover-cli-[0-9a-f]{32}", key) for key in keys)


def test_a_lost_answer_is_one_task(fake: FakeApi, run: Runs, text: str):
    away = problem(503, "database_unavailable", Retry_After="1")
    fake.on("POST", "/api/tasks", LOST, away, Answer(202, task("pending")))
    status, out, err = run("submit", text)
    assert (status, out) == (0, f"{TASK_ID}\n")
    assert len(fake.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in fake.asked}) == 1
    assert err.count("trying again") == 2


def test_a_text_comes_from_standard_input(fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch):
    fake.on("POST", "/api/tasks", Answer(202, task("pending")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeff文".encode())))
    assert run("submit", "-")[0] == 0
    assert fake.asked[0].body == {"input": "文"}


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), (b"", "is empty"), ("é".encode("latin-1") + b"!", "is not UTF-8 (byte 0 is 0xe9)")],
)
def test_a_text_that_cannot_be_read_is_refused(
    content: bytes | None, says: str, fake: FakeApi, run: Runs, tmp_path: Path
):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    status, _, err = run("submit", str(path))
    assert status == 1
    assert says in err
    assert fake.asked == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--deadline", "soon"], "--deadline soon: must be seconds"),
        (["--model-option", "top_p"], "--model-option top_p: must be NAME=VALUE"),
        (["--metadata", "{1}"], "is not a JSON object"),
        (["--reduce", "sum"], "'sum' is not one of"),
        (["--chunk-chars", "0"], "greater than or equal to 1"),
        (["--url", "ftp://x"], "is not a deployment's URL"),
        (["--url", "https://key@host"], "is not a deployment's URL"),
        (["--key", "not a key"], "ONCEOVER_KEY is not a key"),
    ],
)
def test_a_bad_flag_could_not_be_run(arguments: list[str], says: str, fake: FakeApi, run: Runs, text: str):
    status, out, err = run("submit", text, *arguments)
    assert (status, out) == (1, "")
    assert says in err
    assert fake.asked == []


def test_a_refusal_names_the_fields(fake: FakeApi, run: Runs, text: str):
    said = {
        "maxModelCalls": "must be at least 2",
        "chunk.maxChars": "Input should be greater than or equal to 1",
        "modelOptions.foo": "is not one that this deployment passes on",
        "unheardOf": "is unknown",
    }
    errors = [{"field": field, "message": message} for field, message in said.items()]
    detail = "; ".join(f"{field}: {message}" for field, message in said.items())
    fake.on("POST", "/api/tasks", Answer(422, {"code": "invalid_fields", "detail": detail, "errors": errors}))
    status, _, err = run("submit", text)
    assert status == 1
    assert err.splitlines() == [
        "error: --max-calls: must be at least 2",
        "--chunk-chars: must be greater than or equal to 1",
        "--model-option foo: is not one that this deployment passes on",
        "unheardOf: is unknown",
    ]


def test_a_key_on_the_command_line_is_visible_and_that_is_said(
    fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch
):
    fake.on("GET", PATH, task())
    assert "can see --key" in run("status", TASK_ID, "--key", "oo_1")[2]
    monkeypatch.setenv("ONCEOVER_KEY", "oo_2")
    assert run("status", TASK_ID)[2] == ""
    assert [asked.headers["authorization"] for asked in fake.asked] == ["Bearer oo_1", "Bearer oo_2"]


def test_a_redirect_is_not_followed(fake: FakeApi, run: Runs):
    """`onceover` does not follow a redirect, which would send the key to another server."""
    fake.on("GET", PATH, Answer(302, None, {"Location": "/elsewhere"}))
    status, _, err = run("status", TASK_ID)
    assert status == 1
    assert "the server answered 302" in err
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (task(), Exit.COMPLETED),
        (failed("model_refused"), Exit.FAILED),
        (failed("deadline_exceeded"), Exit.TERMS),
        (failed("budget_exhausted"), Exit.TERMS),
        (task("cancelled"), Exit.CANCELLED),
        (task(progress={"total": 2, "completed": 2, "failed": 0, "truncated": 1}), Exit.INCOMPLETE),
        (task(progress={"total": 2, "completed": 1, "failed": 1}), Exit.INCOMPLETE),
    ],
)
def test_the_end_of_a_task_is_the_exit_status(ended: dict[str, Any], status: Exit, fake: FakeApi, run: Runs, text: str):
    assert exit_of(ended) is status
    fake.on("POST", "/api/tasks", Answer(202, task("pending"))).on("GET", PATH, ended)
    fake.on("GET", f"{PATH}/events", lambda _asked: Answer(stream=[event("end", ended)]))
    assert run("run", text)[0] == status
    assert run("watch", TASK_ID)[0] == status
    assert run("result", TASK_ID)[0] == status


def test_outputs_are_written_as_they_come_and_make_the_result(fake: FakeApi, run: Runs, text: str):
    fake.on("POST", "/api/tasks", Answer(202, task("pending")))
    stream = [event("chunk", chunk(0, "one"), "0-1"), event("end", task(output="one\n\ntwo\n\nthree"))]
    fake.on("GET", f"{PATH}/events", Answer(stream=stream))
    status, out, err = run("run", text)
    assert (status, out) == (0, "one\n\ntwo\n\nthree\n")
    assert err.splitlines() == [
        f"Submitted {TASK_ID}: 2 chunks by the queue route",
        "completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens.",
    ]


def test_a_merge_writes_its_result_alone(fake: FakeApi, run: Runs, text: str):
    merge = {"model": "demo-1", "reduce": "merge"}
    fake.on("POST", "/api/tasks", Answer(202, task("pending", request=merge)))
    stream = [event("chunk", chunk(0, "one"), "0-1"), event("end", task(output="all in all", request=merge))]
    fake.on("GET", f"{PATH}/events", Answer(stream=stream))
    assert run("run", text, "--reduce", "merge")[1] == "all in all\n"


FAILED_CHUNK = {**chunk(1, ""), "status": "failed", "output": None, "finishReason": None, "attempts": 3} | {
    "error": {"code": "model_refused", "message": "the provider answered 400", "retryable": False}
}
CALL = {
    "level": 0,
    "index": 1,
    "number": 2,
    "outcome": "failed",
    "answered": True,
    "model": "demo-1",
    "route": "queue",
    "lane": None,
    "announcedAt": None,
    "startedAt": "2026-11-25T10:00:00.000Z",
    "finishedAt": "2026-11-25T10:00:00.322Z",
    "milliseconds": 322,
    "code": "model_unavailable",
    "message": "the provider answered 503",
}
UNANSWERED = dict.fromkeys(CALL) | {"level": 1, "index": 0, "outcome": "in_doubt", "answered": False}
CALLS = {
    "attempts": [CALL, UNANSWERED],
    "counts": {"calls": 9, "succeeded": 0, "failed": 1, "inDoubt": 1, "out": 0, "unlisted": 7},
    "nextCursor": None,
}
COUNTS = {"pending": 0, "processing": 1, "completed": 80, "failed": 2, "cancelled": 0, "among": 500, "all": False}
ATTEMPT = {"at": "2026-11-25T10:00:00.000Z", "status": 500, "milliseconds": 12, "failure": "server_error"}
DELIVERY = {
    "id": "evt_1",
    "endpoint": "we_1",
    "type": "task.completed",
    "status": "pending",
    "createdAt": "2026-11-25T10:00:00.000Z",
    "nextAttemptAt": "2026-11-25T10:05:00.000Z",
    "tries": 2,
    "attempts": [ATTEMPT | {"at": "2026-11-25T10:01:00.000Z", "status": None, "failure": "timeout"}, ATTEMPT],
}
UNTRIED = DELIVERY | {"id": "evt_2", "nextAttemptAt": None, "tries": 0, "attempts": []}
SUMS = {
    "completed": 3,
    "failed": 1,
    "cancelled": 0,
    "failures": [{"code": "model_refused", "tasks": 1}],
    "deadLetters": 1,
    "modelCalls": 20,
    "inDoubt": 2,
    "truncated": 4,
}
HISTORY = {
    "hours": 24,
    "bucketSeconds": 300,
    "until": None,
    "boundsMs": [500],
    "buckets": [{"at": f"2026-11-25T{at}:00.000Z", **SUMS} for at in ("09:55", "10:00", "10:05")],
}


def cancelled_in_bulk(asked: Asked) -> dict[str, Any]:
    return {"tasks": 2, "more": False} if asked.body.get("dryRun") else {"cancelled": 2, "more": False}


LIMITS = {
    "tenant": "acme",
    "monthlyCostMost": "20.000000000",
    "booked": "1.000000000",
    "inDoubt": "0.000000000",
    "out": "0.000000000",
    "countedFrom": "2026-12-01T00:00:00.000Z",
}
FIGURES = {
    "tenant": "acme",
    "tasks": 3,
    "more": False,
    "pending": 1,
    "processing": 0,
    "completed": 0,
    "failed": 2,
    "cancelled": 0,
    "failures": [{"code": "model_refused", "tasks": 2}],
    "modelCalls": 7,
    "inDoubt": 1,
    "inputTokens": 100,
    "outputTokens": 20,
    "cost": {"amount": "0.120000000", "currency": "USD", "inDoubt": "0.000000000"},
}


SWEPT = dict.fromkeys(("dispatched", "worked", "expired", "failed", "erased"), 0)
RESUMED = SWEPT | {"resumed": 3, "probed": [{"model": "m", "answered": True}, {"model": "n", "answered": False}]}


def serve_everything(fake: FakeApi) -> None:
    over = task(output=["one", "two"])
    page = {"tasks": [over, failed("model_refused"), task("pending")], "nextCursor": None}
    fake.on("POST", "/api/tasks", lambda asked: PLAN if "dryRun" in asked.query else Answer(202, task("pending")))
    fake.on("GET", "/api/tasks", page).on("GET", PATH, over).on("DELETE", PATH, Answer(204))
    fake.on("GET", f"{PATH}/events", lambda _asked: Answer(stream=[event("end", over)]))
    fake.on("POST", f"{PATH}/cancel", task("cancelled")).on("POST", f"{PATH}/retry", Answer(202, task("pending")))
    cost = {"tasks": 2, "minimumCalls": 3, "maximumCalls": 9, "more": False}
    fake.on(
        "POST", "/api/tasks/retry", lambda asked: cost if asked.body.get("dryRun") else {"retried": 2, "more": False}
    )
    fake.on("GET", "/api/keys", {"keys": [KEY]}).on("POST", "/api/keys", Answer(201, {**KEY, "key": "oo_secret"}))
    fake.on("DELETE", f"/api/keys/{KEY['id']}", Answer(204))
    fake.on("GET", HOOKS, {"object": "list", "data": [ENDPOINT]}).on(
        "POST", HOOKS, {**ENDPOINT, "signing_secret": "whsec_1"}
    )
    fake.on("DELETE", f"{HOOKS}/we_1", Answer(204)).on("POST", f"{HOOKS}/we_1/test", TRIED)
    fake.on("POST", f"{HOOKS}/we_1/rotate_secret", {**ENDPOINT, "signing_secret": "whsec_2"})
    fake.on("POST", "/api/tasks/cancel", cancelled_in_bulk)
    fake.on("GET", f"{PATH}/chunks", {"chunks": [chunk(0, "one"), FAILED_CHUNK], "nextCursor": None})
    fake.on("GET", f"{PATH}/attempts", CALLS)
    fake.on("GET", f"{PATH}/deliveries", {"deliveries": [DELIVERY, UNTRIED]})
    fake.on("GET", "/api/history", HISTORY)
    fake.on("GET", "/api/tenants", {"hours": 6, "tenants": [FIGURES], "nextCursor": None})
    fake.on("GET", "/api/tenants/acme/limits", LIMITS)
    fake.on("GET", "/api/async-status", STATUS)
    model = {"status": "healthy", "provider": "demo", "model": "demo-1", "checkedAt": "", "detail": "built in"}
    fake.on("GET", "/api/ai-status", model)
    fake.on("POST", "/api/sweep", RESUMED)
    FakeBatches(fake, batch("completed", done=4))


COMMANDS = {
    "run": ["run", "TEXT"],
    "submit": ["submit", "TEXT"],
    "batch": ["batch", "TEXT"],
    "dry-run": ["run", "TEXT", "--dry-run"],
    "watch": ["watch", TASK_ID],
    "status": ["status", TASK_ID],
    "result": ["result", TASK_ID],
    "list": ["list"],
    "cancel": ["cancel", TASK_ID],
    "cancel-several": ["cancel", TASK_ID, "no-such-task"],
    "cancel-all": ["cancel", "--all", "--status", "pending"],
    "cancel-all-dry-run": ["cancel", "--all", "--since", "2h", "--dry-run"],
    "chunks": ["chunks", TASK_ID],
    "attempts": ["attempts", TASK_ID],
    "deliveries": ["deliveries", TASK_ID],
    "history": ["history", "--hours", "6"],
    "retry": ["retry", TASK_ID, "no-such-task"],
    "retry-failed": ["retry", "--failed", "--error-code", "model_refused"],
    "retry-failed-dry-run": ["retry", "--failed", "--dry-run"],
    "delete": ["delete", TASK_ID, "no-such-task"],
    "keys-list": ["keys", "list"],
    "keys-make": ["keys", "make", "--label", "nightly", "--scopes", "read", "--expires-in", "90d"],
    "keys-revoke": ["keys", "revoke", str(KEY["id"])],
    "webhooks-list": ["webhooks", "list"],
    "webhooks-add": ["webhooks", "add", "nightly", "https://hooks.example.com/x"],
    "webhooks-test": ["webhooks", "test", "we_1"],
    "webhooks-remove": ["webhooks", "remove", "we_1"],
    "webhooks-rotate": ["webhooks", "rotate", "we_1", "--keep-old"],
    "tenant-list": ["tenant", "list", "--hours", "6"],
    "tenant-limits": ["tenant", "limits", "acme"],
    "tenant-erase": ["tenant", "erase", "acme", "--yes"],
    "doctor": ["doctor"],
    "top": ["top", "--once"],
    "resume": ["resume"],
}
# Commands that end with another status than 0 in this test. The fake server lists a task every time, so `tenant erase`
# always leaves one task.
ENDS = {"cancel-several": 1, "retry": 1, "delete": 1, "tenant-erase": 3}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_document_has_its_stated_shape(name: str, fake: FakeApi, run: Runs, text: str):
    serve_everything(fake)
    status, out, _ = run(*(text if part == "TEXT" else part for part in COMMANDS[name]), "-o", "json")
    assert status == ENDS.get(name, 0)
    assert conforms(name, out)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_read_by_eyes_too(name: str, fake: FakeApi, run: Runs, text: str):
    serve_everything(fake)
    status, out, err = run(*(text if part == "TEXT" else part for part in COMMANDS[name]))
    assert status == ENDS.get(name, 0)
    assert "None" not in out + err
    assert "{'" not in out + err


def test_the_schema_describes_these_documents_and_no_other():
    parts = {"status-name", "task", "key", "endpoint", "new-endpoint", "refused", "by-tenant", "check"}
    assert set(SCHEMA["$defs"]) - parts == set(COMMANDS)
    jsonschema.meta.validate(SCHEMA)


def test_what_is_asked_of_keys_and_webhooks(fake: FakeApi, run: Runs):
    serve_everything(fake)
    assert run(*COMMANDS["keys-make"])[1] == "oo_secret\n"
    assert run(*COMMANDS["webhooks-add"])[1] == "whsec_1\n"
    assert run(*COMMANDS["webhooks-rotate"])[1] == "whsec_2\n"
    assert [asked.body for asked in fake.asked] == [
        {"scopes": ["read"], "label": "nightly", "expiresInSeconds": 7_776_000},
        {
            "name": "nightly",
            "url": "https://hooks.example.com/x",
            "event_types": ["task.completed", "task.failed", "task.cancelled"],
        },
        {"keep_old_secret_active_for_24_hours": True},
    ]
    assert run(*COMMANDS["webhooks-test"])[1] == "The endpoint accepted task.completed with 204\n"
    status, _, err = run("keys", "revoke", "oo_0123456789abcdef_secret")
    assert status == 1
    assert "not the key itself" in err


def test_what_resume_says(fake: FakeApi, run: Runs):
    fake.on("POST", "/api/sweep", RESUMED, SWEPT | {"resumed": 0, "probed": []}, problem(429, "too_soon"))
    said = "m answers: its tasks go on\nn still fails: its tasks wait on\n3 pauses ended\n"
    assert run("resume")[:2] == (0, said)
    assert run("resume")[1] == "no task waits for a model that is away\n"
    assert run("resume")[0] == 1
    assert [asked.body for asked in fake.asked] == [{"resume": True}] * 3


def test_a_chunk_from_the_cache_of_a_gateway_says_so(fake: FakeApi, run: Runs):
    known = {**chunk(0, "one"), "cached": True}
    fake.on("GET", f"{PATH}/chunks", {"chunks": [known, chunk(1, "two")], "nextCursor": None})
    _, first, second = run("chunks", TASK_ID)[1].splitlines()
    assert ("cached" in first, "cached" in second) == (True, False)


def test_a_list_goes_on_to_the_next_page(fake: FakeApi, run: Runs):
    pages = [([task()], "a"), ([], "b"), ([task("failed")], "c")]
    fake.on("GET", "/api/tasks", *({"tasks": found, "nextCursor": cursor} for found, cursor in pages))
    status, out, _ = run("list", "-n", "2", "--status", "failed", "--created-after", "2026-11-25T00:00:00Z")
    assert status == 0
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["ID", "STATUS"],
        [TASK_ID, "completed"],
        [TASK_ID, "failed"],
    ]
    assert [asked.query for asked in fake.asked] == [
        {"status": "failed", "createdAfter": "2026-11-25T00:00:00Z", "limit": limit, **cursor}
        for limit, cursor in (("2", {}), ("1", {"cursor": "a"}), ("1", {"cursor": "b"}))
    ]


def test_a_list_passes_each_filter_on(fake: FakeApi, run: Runs):
    fake.on("GET", "/api/tasks", {"tasks": [], "nextCursor": "a", "counts": COUNTS}, {"tasks": [], "nextCursor": None})
    filters = ["--q", "50%", "--code", "model_refused", "--model", "m", "--route", "queue", "--status", "failed"]
    status, out, err = run("list", *filters, "--counts")
    wanted = {"q": "50%", "code": "model_refused", "model": "m", "route": "queue", "status": "failed", "limit": "20"}
    assert [asked.query for asked in fake.asked] == [wanted | {"counts": "true"}, wanted | {"cursor": "a"}]
    assert (status, len(out.splitlines())) == (0, 1)
    said = "Of the newest 500 tasks: 0 pending, 1 processing, 80 completed, 2 failed, 0 cancelled.\n"
    assert err == said
    fake.on("GET", "/api/tasks", {"tasks": [], "nextCursor": None, "counts": COUNTS | {"all": True, "among": 83}})
    assert run("list", "--counts")[2] == said.replace("the newest 500", "all 83")
    assert conforms("list", run("list", "--counts", "-o", "json")[1])["counts"]["failed"] == 2
    assert run("list", "--route", "teleport")[0] == 1


def test_calls_are_read_page_by_page(fake: FakeApi, run: Runs):
    pages = [{**CALLS, "attempts": [CALL, CALL], "nextCursor": cursor} for cursor in ("0.1", "0.3", None)]
    fake.on("GET", f"{PATH}/attempts", *pages)
    document = conforms("attempts", run("attempts", TASK_ID, "-n", "4", "-o", "json")[1])
    assert (len(document["attempts"]), document["nextCursor"]) == (4, "0.3")
    assert [asked.query for asked in fake.asked] == [{"limit": "4"}, {"limit": "2", "cursor": "0.1"}]
    fake.on("GET", f"{PATH}/attempts", *pages)
    assert len(conforms("attempts", run("attempts", TASK_ID, "-o", "json")[1])["attempts"]) == 6


@pytest.mark.parametrize(
    ("since", "after"),
    [
        ("90", "2026-11-25T11:58:30.000Z"),
        ("2h", "2026-11-25T10:00:00.000Z"),
        ("1d", "2026-11-24T12:00:00.000Z"),
        ("2026-11-25T18:00:00+08:00", "2026-11-25T10:00:00.000Z"),
    ],
)
def test_since_is_a_span_or_a_time(since: str, after: str, fake: FakeApi, run: Runs, monkeypatch: pytest.MonkeyPatch):
    """The API's filters accept only times, not spans."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls(2026, 11, 25, 12, tzinfo=tz)

    monkeypatch.setattr(flags, "datetime", Clock)
    serve_everything(fake)
    assert run("list", "--since", since)[0] == 0
    assert fake.requests("GET", "/api/tasks")[0].query["createdAfter"] == after
    assert run("cancel", "--all", "--dry-run", "--since", since)[0] == 0
    assert run("retry", "--failed", "--dry-run", "--since", since)[0] == 0
    assert {fake.requests("POST", f"/api/tasks/{name}")[0].body["createdAfter"] for name in ("cancel", "retry")} == {
        after
    }


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--since", "1h", "--created-after", "x"]])
def test_a_since_that_is_none_is_refused(arguments: list[str], fake: FakeApi, run: Runs):
    status, _, err = run("list", *arguments)
    assert (status, fake.asked) == (1, [])
    assert "--since" in err


@pytest.mark.parametrize(
    "arguments", [[], [TASK_ID, "--all"], [TASK_ID, "--dry-run"], [TASK_ID, "--status", "pending"], ["--dry-run"]]
)
def test_a_cancellation_says_which_tasks(arguments: list[str], fake: FakeApi, run: Runs):
    assert run("cancel", *arguments)[0] == 1
    assert fake.asked == []


@pytest.mark.parametrize(
    "arguments", [[], [TASK_ID, "--failed"], [TASK_ID, "--dry-run"], ["--failed", "--max-calls", "3"]]
)
def test_a_retry_says_which_tasks(arguments: list[str], fake: FakeApi, run: Runs):
    assert run("retry", *arguments)[0] == 1
    assert fake.asked == []


def commands() -> dict[str, typer.core.TyperCommand]:
    top: Any = typer.main.get_command(app)
    found: dict[str, typer.core.TyperCommand] = {}
    for name, command in top.commands.items():
        if hasattr(command, "commands"):
            found |= {f"{name} {part}": one for part, one in command.commands.items()}
        else:
            found[name] = command
    return found


def test_the_commands_are_those_of_the_contract():
    words = "run batch submit watch status result list cancel retry delete doctor resume top chunks attempts deliveries"
    of_keys, of_hooks = "list make revoke", "list add test remove rotate"
    grouped = {f"keys {one}" for one in of_keys.split()} | {f"webhooks {one}" for one in of_hooks.split()}
    grouped |= {f"tenant {one}" for one in ("list", "limits", "export", "erase")}
    assert set(commands()) == {*words.split(), "history", "verify", *grouped}
