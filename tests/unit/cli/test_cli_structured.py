"""Structured output and gaps on the command line: flags, printed values, and the exit status."""

import json
from pathlib import Path
from typing import Any

import pytest

from onceover_cli.exits import Exit
from tests.support.fake_api import TASK_ID, Answer, FakeApi
from tests.unit.cli.test_cli_commands import Runs, conforms, problem, task, text

__all__ = ["text"]  # a fixture

SCHEMA = {"type": "object", "properties": {"people": {"type": "array", "items": {"type": "string"}}}}
VALUE = {"people": ["Emma"]}
GAP = {"chunk": 1, "start": 4, "end": 9, "code": "invalid_output"}


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "people.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


def ended(result: Any, **fields: Any) -> dict[str, Any]:
    made = task("completed")
    return made | {"result": result, "request": {"reduce": "concat", "outputSchema": SCHEMA}} | fields


def test_flags_become_fields(fake: FakeApi, run: Runs, text: str, schema: str) -> None:
    fake.on("POST", "/api/tasks", Answer(202, task("pending")))
    rules = ("--join", "/total=sum", "--join", "/a=b=first")
    options = ("--schema", schema, "--no-strict", *rules, "--gaps", "--max-gap-share", "0.2")
    assert run("submit", text, *options)[0] == 0
    (asked,) = fake.asked
    assert asked.body == {
        "input": "祝福\r\n",
        "outputSchema": SCHEMA,
        "strict": False,
        "join": {"/total": "sum", "/a=b": "first"},
        "onChunkFailure": "gap",
        "maxGapShare": 0.2,
    }


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        ("{", (), "is not JSON"),
        ("[]", (), "is JSON, but not an object"),
        ('{"maximum": NaN}', (), "is not JSON"),
        ('{"properties": {"a": {}, "b": {}, "a": {}}}', (), 'has an object with the same name twice: "a"'),
        ("{}", ("--join", "total"), "--join total: must be POINTER=RULE"),
        ("{}", ("--join", "/a=sum", "--join", "/a=max"), "--join /a=max: /a has a rule already, sum"),
    ],
)
def test_bad_flags(fake: FakeApi, run: Runs, text: str, tmp_path: Path, content: str, flags: Any, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    status, out, said = run("run", text, "--schema", str(path), *flags)
    assert (status, out) == (Exit.COULD_NOT_RUN, "")
    assert words in said
    assert not fake.asked


def test_a_refused_schema_names_the_flag_and_the_place(fake: FakeApi, run: Runs, text: str, schema: str) -> None:
    refused = problem(422, "unsupported_schema")
    refused.body.update(
        detail="outputSchema: /properties/a/pattern: The keyword is not supported.",
        errors=[{"field": "outputSchema", "message": "/properties/a/pattern: no.", "pointer": "/properties/a/pattern"}],
    )
    fake.on("POST", "/api/tasks", refused)
    status, _, said = run("run", text, "--schema", schema)
    assert status == Exit.COULD_NOT_RUN
    assert "--schema: /properties/a/pattern: " in said


def test_the_value_is_printed(fake: FakeApi, run: Runs, text: str, schema: str) -> None:
    done = ended({"output": json.dumps(VALUE), "value": VALUE})
    fake.on("POST", "/api/tasks", Answer(202, done | {"status": "pending", "terminal": False, "result": None}))
    chunk = {"index": 0, "start": 0, "end": 4, "status": "completed", "output": "{}", "attempts": 1, "error": None}
    stream = [f"event: chunk\ndata: {json.dumps(chunk)}\n\n", f"event: end\ndata: {json.dumps(done)}\n\n"]
    fake.on("GET", f"/api/tasks/{TASK_ID}/events", Answer(stream=stream, headers={"Content-Type": "text/event-stream"}))
    status, out, _ = run("run", text, "--schema", schema)
    assert status == Exit.COMPLETED
    assert json.loads(out) == VALUE
    assert len(out.splitlines()) == 1


def test_gaps_end_with_3(fake: FakeApi, run: Runs) -> None:
    done = ended({"output": ["a", None], "value": [VALUE, None]}, gaps=[GAP], coverage=0.5)
    done["progress"] |= {"failed": 1}
    fake.on("GET", f"/api/tasks/{TASK_ID}", done)
    status, out, said = run("watch", TASK_ID)
    assert (status, json.loads(out)) == (Exit.INCOMPLETE, [VALUE, None])
    assert "1 gap (50.0% of the text covered)" in said
    status, out, _ = run("result", TASK_ID, "-o", "json")
    shown = conforms("result", out)
    assert (status, shown["value"], shown["gaps"], shown["coverage"]) == (Exit.INCOMPLETE, [VALUE, None], [GAP], 0.5)
    assert "4-9 (invalid_output)" in run("status", TASK_ID)[1]


def test_a_retry_of_gaps_names_the_new_task(fake: FakeApi, run: Runs) -> None:
    new = task("pending") | {"id": "01a213be-b263-762c-b9e4-000000000000", "retryOf": TASK_ID}
    fake.on("POST", f"/api/tasks/{TASK_ID}/retry", Answer(202, new))
    status, out, said = run("retry", TASK_ID)
    assert (status, out) == (0, f"{new['id']}\n")
    assert f"makes the gaps of {TASK_ID}" in said
