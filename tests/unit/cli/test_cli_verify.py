"""What `onceover verify` prints, writes and exits with. tests/runtime/test_verify.py runs its checks."""

import json
from pathlib import Path
from typing import Any

import pytest

from onceover_cli.connection import ApiClient, place
from onceover_cli.main import main
from onceover_cli.verify import checks
from onceover_cli.verify.findings import Finding, Grade, as_json, as_markdown
from onceover_cli.verify.trial import NotRun, Trial
from tests.support.fake_api import Answer, FakeApi

STATUS = {"status": "healthy", "service": "s", "architecture": "a", "queueCheck": {}}
EMPTY: dict[str, Any] = {"tasks": [], "nextCursor": None}


def api_with(status: Answer) -> FakeApi:
    """An API that accepts any key, with this status."""
    return (
        FakeApi()
        .on("GET", "/api/async-status", status)
        .on("GET", "/api/tasks", EMPTY)
        .on("POST", "/api/tasks", {"chunks": []})
    )


def test_it_cannot_run_without_an_answer(capsys: pytest.CaptureFixture[str]):
    assert main(["verify", "--url", "http://127.0.0.1:1"]) == 2
    assert "nothing answers" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/api/tasks", "/api/async-status"])
def test_it_cannot_run_with_a_key_that_lacks_a_scope(capsys: pytest.CaptureFixture[str], path: str):
    refused = Answer(
        403, {"code": "forbidden", "detail": "This call needs a key with the scope `write`.", "status": 403}
    )
    with api_with(Answer(200, STATUS)) as api:
        api.on("POST" if path == "/api/tasks" else "GET", path, refused)
        assert main(["verify", "--url", api.url]) == 2
    assert "scope" in capsys.readouterr().err


def test_it_cannot_run_with_the_key_of_another_tenant(capsys: pytest.CaptureFixture[str]):
    with api_with(Answer(200, STATUS)) as api:
        assert main(["verify", "--url", api.url]) == 2
    assert "OPERATOR_TENANT" in capsys.readouterr().err


def test_a_database_without_tables_is_a_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    unhealthy = Answer(503, STATUS | {"status": "unhealthy", "detail": "The database has no tables yet."})
    with api_with(unhealthy) as api:
        assert main(["verify", "--url", api.url, "--report", str(tmp_path / "report")]) == 1
    assert "no tables" in capsys.readouterr().err
    assert "no tables" in (tmp_path / "report.md").read_text()
    (found,) = json.loads((tmp_path / "report.json").read_text())["checks"]
    assert (found["check"], found["verdict"]) == ("database", "fault")


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        (lambda _: (Grade.SOUND, "saw", "means"), "sound"),
        (lambda trial: trial.submission(31), "not run"),
        (checks.late, "not run"),
        (lambda trial: trial.get("/gone"), "fault"),
        (lambda trial: trial.get("/api/tasks")["surprise"], "fault"),
    ],
)
def test_what_a_check_can_end_with(act: Any, verdict: str):
    """A check that cannot run is no success, and an answer that is not onceover's is a fault."""
    with FakeApi().on("GET", "/api/tasks", EMPTY) as fake, ApiClient(place(fake.url, None)) as api:
        found = checks.run(Trial(api, 60), ("name", "did", act))
        assert found.verdict == verdict
        assert fake.url not in found.saw


def test_the_calls_are_never_more_than_allowed():
    """Budgets of tasks add up to at most the calls, even if each call fails once."""
    with FakeApi() as fake, ApiClient(place(fake.url, None)) as api:
        trial = Trial(api, 60)
        assert sum(trial.submission(4)["maxModelCalls"] for _ in range(7)) == 56
        with pytest.raises(NotRun):
            trial.submission(4)


def test_both_forms_of_a_report_say_the_same():
    """A cell of Markdown holds any text."""
    found = [Finding("a", Grade.FAULT, "did", "a | b\nc", "means", 1.25)]
    markdown = as_markdown({"version": "1"}, found)
    assert "0 sound, 1 fault, 0 not run." in markdown
    assert "| a | fault | did | a \\| b c | means | 1.2 |" in markdown
    report = json.loads(as_json({"version": "1"}, found))
    assert report["checks"] == [
        {"check": "a", "verdict": "fault", "did": "did", "saw": "a | b\nc", "means": "means", "seconds": 1.2}
    ]
