"""`onceover batch` against a scripted server: it starts, goes on after a break, and writes the answers as they come."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onceover_cli.exits import Exit, exit_of_batch
from tests.support.fake_api import LOST, Answer, FakeApi, Reply, problem
from tests.support.fake_batches import BATCH_ID, ERRORS, OUTPUT, FakeBatches, batch, output_line
from tests.unit.cli.test_cli_commands import Runs

ANSWERS = "".join(map(output_line, range(4)))
DONE = (batch(), batch("in_progress", done=1), batch("in_progress", done=3), batch("completed", done=4))


@pytest.fixture
def requests(tmp_path: Path) -> str:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"custom_id": "line-0"}\n', "utf-8")
    return str(path)


@pytest.fixture
def run(run: Runs) -> Runs:
    return partial(run, "batch")


def test_a_file_becomes_a_batch_and_its_answers_come_as_they_are_made(fake: FakeApi, run: Runs, requests: str) -> None:
    FakeBatches(fake, *DONE)
    status, out, err = run(requests, "--window", "48h", "--metadata", "night=1", "--max-calls", "9")
    assert (status, out) == (Exit.COMPLETED, ANSWERS)
    assert f"Started {BATCH_ID}" in err
    assert err.endswith("completed. 4 of 4 lines answered, 4 model calls, 40 + 4 tokens.\n")
    (created,) = fake.requests("POST", "/v1/batches")
    assert created.body == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "48h",
        "metadata": {"night": "1"},
        "onceover": {"maxModelCalls": 9},
    }
    (uploaded,) = fake.requests("POST", "/v1/files")
    assert b'name="purpose"\r\n\r\nbatch' in uploaded.body
    offsets = [one.query["offset"] for one in fake.requests("GET", f"/v1/files/{OUTPUT}/content")]
    assert offsets == sorted(offsets, key=int)


def test_the_same_command_goes_on_with_the_same_batch(fake: FakeApi, run: Runs, requests: str, tmp_path: Path) -> None:
    """Nothing is uploaded or started twice, and the output goes on behind its last whole line."""
    served, output = FakeBatches(fake, batch("in_progress", done=2)), tmp_path / "answers.jsonl"
    fake.on("GET", f"/v1/files/{OUTPUT}/content", problem(403, "forbidden"))
    assert run(requests, "--output", str(output))[0] == Exit.COULD_NOT_RUN
    served = FakeBatches(fake, *DONE)
    served.files, served.batches = [served_file(fake)], [batch()]
    output.write_text(output_line(0) + output_line(1)[:9], "utf-8")
    status, out, err = run(requests, "--output", str(output))
    assert (status, out, output.read_text("utf-8")) == (0, "", ANSWERS)
    assert f"Going on with {BATCH_ID}" in err
    assert (len(fake.requests("POST", "/v1/files")), len(fake.requests("POST", "/v1/batches"))) == (1, 1)


def served_file(fake: FakeApi) -> dict[str, Any]:
    (uploaded,) = fake.requests("POST", "/v1/files")
    name = uploaded.body.partition(b'filename="')[2].partition(b'"')[0].decode()
    return {"id": "file-1", "filename": name, "bytes": 24, "created_at": 1_795_600_000}


def test_a_lost_answer_starts_one_batch(fake: FakeApi, run: Runs, requests: str) -> None:
    FakeBatches(fake, *DONE)
    fake.on("POST", "/v1/batches", LOST, batch())
    status, _, err = run(requests)
    assert (status, "it makes only one batch" in err) == (0, True)
    first, second = fake.requests("POST", "/v1/batches")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_batch_goes_on_by_its_id(fake: FakeApi, run: Runs) -> None:
    FakeBatches(fake, *DONE)
    assert run("--id", BATCH_ID)[:2] == (0, ANSWERS)
    assert fake.requests("POST", "/v1/batches") == []


@pytest.mark.parametrize(
    "cut", [0, 1, 20, len(output_line(0)) - 1, len(output_line(0)), len(ANSWERS) - 1, len(ANSWERS)]
)
def test_an_output_that_was_cut_off_anywhere_becomes_whole(fake: FakeApi, run: Runs, tmp_path: Path, cut: int) -> None:
    """The line in which an earlier command died is written again."""
    FakeBatches(fake, batch("in_progress", done=4), batch("completed", done=4))
    output = tmp_path / "answers.jsonl"
    output.write_text(ANSWERS[:cut], "utf-8")
    assert run("--id", BATCH_ID, "--output", str(output))[0] == 0
    assert output.read_text("utf-8") == ANSWERS


def test_failed_lines_go_beside_the_output(fake: FakeApi, run: Runs, requests: str, tmp_path: Path) -> None:
    """The exit status says that lines are missing."""
    FakeBatches(fake, batch("completed", done=3, failed=1))
    output = tmp_path / "answers.jsonl"
    status, _, err = run(requests, "--output", str(output))
    assert status == Exit.INCOMPLETE
    assert (tmp_path / "answers.errors.jsonl").read_text("utf-8") == '{"custom_id": "x"}\n'
    assert "3 of 4 lines answered, 1 failed" in err
    status, _, err = run("--id", BATCH_ID)
    assert (status, f"The failed requests are in {ERRORS}." in err) == (Exit.INCOMPLETE, True)


def test_faults_of_lines_are_shown(fake: FakeApi, run: Runs, requests: str) -> None:
    fault = {"code": "url_mismatch", "line": 7, "message": "The url is wrong.", "param": "url"}
    FakeBatches(fake, batch("failed", errors={"object": "list", "data": [fault]}))
    status, out, err = run(requests)
    assert (status, out) == (Exit.FAILED, "")
    assert "line 7: The url is wrong. (url_mismatch)\n" in err


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (batch("completed", done=4), Exit.COMPLETED),
        (batch("completed", done=3, failed=1), Exit.INCOMPLETE),
        (batch("expired", done=3, failed=1), Exit.TERMS),
        (batch("cancelled"), Exit.CANCELLED),
        (batch("failed"), Exit.FAILED),
        (batch("failed", errors={"data": [{"code": "budget_exhausted"}]}), Exit.TERMS),
    ],
)
def test_exit_statuses(ended: dict[str, Any], status: Exit) -> None:
    assert exit_of_batch(ended) == status


def test_json_is_one_document(fake: FakeApi, run: Runs, requests: str, tmp_path: Path) -> None:
    """With `-o json` the answers go to --output alone."""
    FakeBatches(fake, *DONE)
    output = tmp_path / "answers.jsonl"
    status, out, _ = run(requests, "-o", "json", "--output", str(output), "-q")
    assert (status, json.loads(out)["status"], output.read_text("utf-8")) == (0, "completed", ANSWERS)


@pytest.mark.parametrize("arguments", [(), ("FILE", "--id", BATCH_ID), ("missing.jsonl",), ("FILE", "--metadata", "x")])
def test_a_wrong_command_line_says_what_is_wrong(fake: FakeApi, run: Runs, requests: str, arguments: list[str]) -> None:
    status, out, err = run(*(requests if one == "FILE" else one for one in arguments))
    assert (status, out, err.startswith("error: ")) == (Exit.COULD_NOT_RUN, "", True)
    assert fake.asked == []


def test_a_server_that_is_away_is_waited_for(fake: FakeApi, run: Runs) -> None:
    FakeBatches(fake, *DONE)
    away = Answer(503, {"error": {"code": "database_unavailable", "message": "away"}})
    states: list[Reply] = [batch(), away, batch("in_progress", done=2), LOST, batch("completed", done=4)]
    served = FakeBatches(fake, *DONE)
    served.lines = 4
    fake.on("GET", f"/v1/batches/{BATCH_ID}", *states)
    status, out, err = run("--id", BATCH_ID)
    assert (status, out) == (0, ANSWERS)
    assert "the batch is safe on the server" in err
