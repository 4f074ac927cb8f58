"""Tests batches on the real runtime: OpenAI's unmodified SDKs, early results, expiry, and the command line."""

import json
import os
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from local.node import ROOT, find_node
from tests.clients.losing_proxy import LosingProxy
from tests.clients.walking import HERE, run
from tests.support.client import BATCH_ENDS, CHAT, Client, Json, openai
from tests.support.databases import d1_file
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan, slow, status
from tests.support.model_server import ModelServer
from tests.support.programs import ran
from tests.support.worker_copy import copy_worker, without_bucket

pytestmark = pytest.mark.runtime

RESPONSES = "/v1/responses"
PROGRAM = ROOT / ".venv" / "bin" / "onceover"


def line(custom_id: str, text: str = "A text.", endpoint: str = CHAT, **body: object) -> str:
    said = {"input": text} if endpoint == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    document = {
        "custom_id": custom_id,
        "method": "POST",
        "url": endpoint,
        "body": {"model": "test-model", **said, **body},
    }
    return json.dumps(document) + "\n"


FILES = {
    "chat": "".join(line(f"r-{n}") for n in range(4)),
    "responses": "".join(line(f"r-{n}", endpoint=RESPONSES) for n in range(2)),
    "slow": "".join(line(f"r-{n}", "slowly") for n in range(60)),
    "thirds": "".join(line(f"r-{n}", "refuse this" if n % 3 == 0 else "fine") for n in range(9)),
}
# `test_batch_limits.py` has the faults of long files.
INVALID = {
    "invalid_json_line": (line("r-0") + "{\n", 2),
    "duplicate_custom_id": (line("r-0") + "\n" + line("r-0"), 3),
    "url_mismatch": (line("r-0", endpoint=RESPONSES), 1),
    "mismatched_model": (line("r-0") + line("r-1", model="other"), 2),
    "model_not_allowed": (line("r-0", model="forbidden") + "", 1),
    "unsupported_parameter": (line("r-0", stream=True), 1),
    "line_too_large": (line("r-0", "x" * 1_000_000), 1),
    "empty_file": ("\n", None),
}
IDS = sorted(f"r-{number}" for number in range(30))  # The lines of a batch whose deployments change.
EXPECTED: dict[str, Any] = {
    "created": ["validating", "batch", {"name": "chat"}, "24h", None],
    "listed": True,
    "page": True,
    "chat": ["completed", [4, 4, 0], ["r-0", "r-1", "r-2", "r-3"], None],
    "responses": ["completed", [2, 2, 0], ["r-0", "r-1"], None],
    "thirds": ["completed", [9, 6, 3], [f"r-{n}" for n in (1, 2, 4, 5, 7, 8)], ["r-0", "r-3", "r-6"]],
    "cancelled": [True, "cancelled"],
    "invalid": {f"invalid-{code}": ["failed", [[code, number]], None] for code, (_, number) in sorted(INVALID.items())},
    "unknown": ["NotFoundError", 404, "not_found", None],
    "no file": ["BadRequestError", 400, "invalid_fields", "input_file_id"],
    "embeddings": ["BadRequestError", 400, "invalid_fields", "endpoint"],
    "too late": ["ConflictError", 409, "already_terminal", None],
}


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    plan = Plan(by_text={"refuse this": (status(400),) * 100, "slowly": (slow(1),) * 1_000})
    with ModelServer(api_key="test-key", plan=plan) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[DevServer]:
    flags = openai(
        model.base_url,
        AI_MODEL="test-model",
        AI_MODELS="test-model,other",
        LEASE_SECONDS=4,
        AI_TIMEOUT_SECONDS=3,
        PLAN="paid",
    )
    with DevServer(tmp_path_factory.mktemp("state"), *flags, "--cron-every", "1") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / f"{name}.jsonl").write_text(content, "utf-8")
    for code, (content, _) in INVALID.items():
        (tmp_path / f"invalid-{code}.jsonl").write_text(content, "utf-8")
    return tmp_path


def seen_by(command: list[str | Path]) -> str:
    seen = run(command)
    version: str = seen.pop("version")
    assert seen == EXPECTED
    return version


def test_openai_for_python(server: DevServer, folder: Path) -> None:
    assert seen_by([sys.executable, HERE / "batches.py", server.url, "none", folder]).startswith("3.")


@pytest.mark.parametrize(
    ("package", "version"), [("openai", "7."), pytest.param("openai6", "6.", marks=pytest.mark.campaign)]
)
def test_openai_for_javascript(server: DevServer, folder: Path, package: str, version: str) -> None:
    command: list[str | Path] = [find_node(), HERE / "batches.mjs", package, server.url, "none", folder]
    assert seen_by(command).startswith(version)


def create(url: str, content: str) -> Json:
    with Client(url) as client:
        return client.start_batch(content, completion_window="1h")


def until(url: str, batch_id: str, statuses: Collection[str] = BATCH_ENDS) -> Json:
    with Client(url) as client:
        return client.ended_batch(batch_id, statuses)


def content(url: str, file_id: str, query: str = "") -> httpx.Response:
    answer = httpx.get(f"{url}/v1/files/{file_id}/content{query}")
    assert answer.status_code == 200, answer.text
    return answer


def test_early_results_and_expiry(server: DevServer, model: ModelServer) -> None:
    batch = create(server.url, "".join(line(f"r-{n}", f"early {n}") for n in range(30)))
    eventually(lambda: until(server.url, batch["id"], {"in_progress", "completed"}))
    batch = until(server.url, batch["id"], {"completed"})
    whole = content(server.url, batch["output_file_id"]).text
    first = content(server.url, batch["output_file_id"], "?offset=0&limit=10")
    rest = content(server.url, batch["output_file_id"], f"?offset={first.headers['X-Last-Line']}")
    assert first.text + rest.text == whole
    assert (first.headers["X-Incomplete"], rest.headers["X-Incomplete"]) == ("true", "false")

    model.hold()
    try:
        held = create(server.url, "".join(line(f"r-{n}", f"held {n}") for n in range(8)))
        model.wait_for_in_flight(1)
        held = until(server.url, held["id"], {"in_progress"})
        early = content(server.url, held["output_file_id"])
        assert (early.text, early.headers["X-Incomplete"]) == ("", "true")
        with closing(sqlite3.connect(d1_file(server.persist_to), timeout=20)) as connection, connection:
            connection.execute("UPDATE tasks SET deadline_at = 1 WHERE kind = 'batch' AND finished_at IS NULL")
        ended = until(server.url, held["id"])
    finally:
        model.release()
    assert ended["status"] == "expired"
    counts = ended["request_counts"]
    assert (counts["total"], counts["completed"] + counts["failed"]) == (8, 8)
    errors = [json.loads(one) for one in content(server.url, ended["error_file_id"]).text.splitlines()]
    assert {one["error"]["code"] for one in errors} == {"batch_expired"}
    assert len(errors) == counts["failed"]
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", _strict_response_validation=True) as client:
        seen = client.batches.retrieve(held["id"])
        assert (seen.status, seen.expired_at is not None, seen.completed_at) == ("expired", True, None)
        assert seen.error_file_id is not None
        assert client.files.content(seen.error_file_id).text.count("batch_expired") == counts["failed"]


class TwiceLosingProxy(LosingProxy):
    def loses(self) -> bool:
        self.lost += self.lost < 2
        return self.repeated < 2


def test_a_batch_whose_answers_are_lost_is_one_batch(server: DevServer) -> None:
    form = {"file": ("a.jsonl", line("r-0"))}
    sent = httpx.post(f"{server.url}/v1/files", files=form, data={"purpose": "batch"}).json()
    proxy = TwiceLosingProxy(1)
    try:
        proxy.target = server.url
        with OpenAI(base_url=f"{proxy.url}/v1", api_key="none") as client:
            batch = client.batches.create(
                input_file_id=sent["id"], endpoint="/v1/chat/completions", completion_window="24h"
            )
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert (proxy.lost, proxy.repeated) == (2, 2)
    listed = httpx.get(f"{server.url}/v1/batches?limit=100").json()["data"]
    assert [one["id"] for one in listed if one["input_file_id"] == sent["id"]] == [batch.id]
    assert until(server.url, batch.id)["onceover"]["usage"]["modelCalls"] == 1


def test_a_batch_keeps_its_files_where_they_are(tmp_path: Path) -> None:
    without = tmp_path / "project"
    without.mkdir()
    copy_worker(without)
    without_bucket(without / "wrangler.toml")
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(0.5))) as model:
        flags = openai(model.base_url, AI_MODEL="test-model", LEASE_SECONDS=4, AI_TIMEOUT_SECONDS=3, PLAN="paid")

        def runtime(project: Path | None = None) -> DevServer:
            return DevServer(tmp_path / "state", *flags, "--cron-every", "1", project=project)

        def begun(server: DevServer) -> Json:
            calls = len(model.calls())
            batch = create(server.url, "".join(line(one, f"Text {one}.") for one in IDS))
            eventually(lambda: len(model.calls()) > calls + 5, seconds=60)
            return batch

        with runtime() as started:
            batches = [begun(started)]
            started.kill()
        model.wait_until_idle()
        with runtime(without) as started:
            calls = len(model.calls())
            started.wait_for_line('"error":"bucket_unbound"', 60)
            shown = httpx.get(f"{started.url}/api/async-status?verbose=1").json()["files"]
            assert shown == {"bucket": False, "unreachable": 1, "incomplete": 0}
            assert httpx.get(f"{started.url}/v1/files/{batches[0]['input_file_id']}/content").status_code == 503
            assert len(model.calls()) == calls
            batches.append(begun(started))
            started.kill()
        with runtime() as started:
            for batch in batches:
                ended = until(started.url, batch["id"])
                assert ended["status"] == "completed"
                answers = content(started.url, ended["output_file_id"]).text.splitlines()
                assert sorted(json.loads(one)["custom_id"] for one in answers) == IDS


def test_the_command_line_runs_a_file(server: DevServer, folder: Path) -> None:
    environment = {**os.environ, "ONCEOVER_URL": server.url}
    output = folder / "answers.jsonl"
    for _ in range(2):
        done = ran([PROGRAM, "batch", folder / "thirds.jsonl", "--output", output], env=environment)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert sorted(json.loads(one)["custom_id"] for one in output.read_text("utf-8").splitlines()) == [
            f"r-{n}" for n in (1, 2, 4, 5, 7, 8)
        ]
        errors = (folder / "answers.errors.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(one)["response"]["status_code"] for one in errors] == [400, 400, 400]
    assert "Going on with" in done.stderr
    assert len(httpx.get(f"{server.url}/v1/batches?limit=100").json()["data"]) >= 1
