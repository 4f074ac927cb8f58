"""What `onceover verify` prints, writes and exits with, and which faults `onceover doctor --deployed` fails for."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.remote import deploy_check
from onceover_cli.connection import ApiClient, place
from onceover_cli.doctor.deployment import OF_THE_DEPLOYMENT
from onceover_cli.main import main
from onceover_cli.verify import checks
from onceover_cli.verify.findings import NAME, Finding, Grade, as_json, as_markdown
from onceover_cli.verify.trial import NotRun, Trial
from tests.support.fake_api import Answer, FakeApi
from tests.support.loopback import Loopback, Quiet
from tests.unit.cli.test_cli_commands import Runs, conforms
from tests.unit.cli.test_cli_doctor import BROKEN_DEPLOYMENTS, Deployment, Level

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


@pytest.mark.parametrize(("spoilt", "says"), [({"calls_fail": True}, "fail"), ({"began": -580.0}, "minutes")])
def test_no_task_is_submitted_that_cannot_tell_anything(spoilt: dict[str, Any], says: str):
    """Where calls fail, a task says nothing about a webhook; and one that begins at the end would not end in time."""
    with FakeApi() as fake, ApiClient(place(fake.url, None)) as api:
        trial = Trial(api, 60)
        trial.clock = lambda: 0.0
        trial.began = 0.0
        assert trial.submission(0)
        assert trial.submission(1)
        for name, value in spoilt.items():
            setattr(trial, name, value)
        with pytest.raises(NotRun, match=says):
            trial.submission(1)


@pytest.mark.parametrize(("status", "verdict"), [(202, "sound"), (503, "fault")])
def test_a_database_that_takes_no_writes_is_named(status: int, verdict: str):
    """It answers reads, so neither its status nor its times show it."""
    stored = Answer(status, {"id": "one", "code": "database_error"})
    with FakeApi() as fake, ApiClient(place(fake.url, None)) as api:
        fake.on("GET", "/api/ai-status", {}).on("GET", "/api/tasks", EMPTY).on("GET", "/api/metrics", Answer(200, b""))
        fake.on("POST", "/api/tasks", stored)
        found = checks.run(Trial(api, 60), check_named("database"))
    assert found.verdict == verdict
    assert ("takes no writes" in found.means) == (verdict == "fault")


def test_webhooks_stay_unknown_if_another_program_listens_at_the_receiver():
    """An error of the operating system would end `verify` without a report."""
    with FakeApi() as fake, Loopback(Quiet) as other, ApiClient(place(fake.url, None)) as api:
        fake.on("POST", "/v1/webhook_endpoints", {"id": "one", "signing_secret": "whsec_"})
        found = checks.run(Trial(api, 60), check_named("webhooks", receiver=f"{other.url}/hook"))
    assert (found.verdict, "cannot listen" in found.saw) == ("not run", True)


@pytest.mark.parametrize(("counted", "verdict"), [(9, "sound"), (8, "fault")])
def test_history_has_the_calls_of_what_was_removed(counted: int, verdict: str):
    """The bills of the removed tasks say four calls, and the sums began at five."""
    row = {"id": "one", "metadata": {"name": NAME, "run": "this"}, "usage": {"modelCalls": 4}}
    page = {"tasks": [row], "nextCursor": None}
    metrics = (
        f'onceover_model_calls_total{{route="queue"}} {counted - 2}\nonceover_model_calls_total{{route="direct"}} 2\n'
    )
    with FakeApi() as fake, ApiClient(place(fake.url, None)) as api:
        fake.on("GET", "/api/tasks", page, EMPTY).on("DELETE", "/api/tasks/one", Answer(204))
        fake.on("GET", "/v1/files", {"data": []}).on("GET", "/v1/webhook_endpoints", {"data": []})
        fake.on("GET", "/api/metrics", Answer(200, metrics.encode()))
        trial = Trial(api, 60)
        trial.name, trial.booked = "this", 5
        found = checks.run(trial, ("cleaning", "removed", checks.cleaned))
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("before", "sweeps", "verdict"),
    [
        (None, ["10:00:00", "10:02:00"], "sound"),
        ("09:58:00", ["10:00:00"], "sound"),
        ("09:00:00", ["10:00:00", "10:03:00"], "fault"),  # requests begin sweeps too
        (None, ["10:00:00"], "fault"),
    ],
)
def test_cron_is_told_from_requests_that_sweep(before: str | None, sweeps: list[str], verdict: str):
    """A sweep that came before requests would begin one is cron's."""
    dated = [f"2026-12-01T{time}.000Z" for time in (*([before] if before else ()), *sweeps)]
    with FakeApi() as fake, ApiClient(place(fake.url, None)) as api:
        fake.on("GET", "/api/async-status", *({"lastSweepAt": one} for one in (dated[1:] if before else dated)))
        trial, now = Trial(api, 60), iter(range(1000))
        trial.clock, trial.pause = lambda: 10.0 * next(now), lambda _: None
        found = checks.run(trial, check_named("cron", dated[0] if before else None))
    assert found.verdict == verdict, found


def check_named(name: str, swept: str | None = None, receiver: str | None = None) -> checks.Check:
    """Return a check of a deployment with every binding."""
    status = STATUS | {"queueCheck": {"hasAIQueue": True, "hasDurableObjects": True}, "lastSweepAt": swept}
    return next(check for check in checks.checks(status, receiver) if check[0] == name)


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


FAULTS = [name for name, (_, (_, level, _, _)) in BROKEN_DEPLOYMENTS.items() if level is Level.FAULT]
ITS_OWN = {"reach", "configuration", "database", "migrations", "queues", "objects", "async-status", "version"}


@pytest.mark.parametrize("name", FAULTS)
def test_only_what_a_deployment_can_break_is_a_fault_of_it(name: str, run: Runs) -> None:
    change, (check_id, *_) = BROKEN_DEPLOYMENTS[name]
    one = Deployment()
    change(one)
    with FakeApi() as fake:
        url = one.serve(fake).url
        assert run("doctor", url, "--key", "oo_key", "-o", "json")[0] == 1
        status, out, _ = run("doctor", url, "--key", "oo_key", "--deployed", "-o", "json")
    assert status == (1 if check_id in ITS_OWN else 0)
    levels = {check["level"] for check in conforms("doctor", out)["checks"] if check["id"] == check_id}
    assert ("fault" in levels) is (check_id in ITS_OWN)


def test_the_list_is_the_one_that_is_meant() -> None:
    """Workflows rely on exactly these checks, which can make `doctor --deployed` fail."""
    assert set(OF_THE_DEPLOYMENT) == ITS_OWN
    ids = {BROKEN_DEPLOYMENTS[name][1][0] for name in FAULTS}
    assert ids & ITS_OWN
    assert {"ai-status", "keys", "cron", "storage", "dead-letters"} <= ids - ITS_OWN


def keep_what_runs(monkeypatch: pytest.MonkeyPatch, status: int) -> list[Any]:
    """Let programs end with a status at once, and return the list that gets their command lines."""
    ran: list[Any] = []

    def keep(command: list[Any], **_options: Any) -> subprocess.CompletedProcess[str]:
        ran.extend(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr("subprocess.run", keep)
    return ran


@pytest.mark.parametrize(("key", "flags"), [("", []), (" ", []), ("oo_key", ["--task"])])
def test_make_deploy_asks_for_that(key: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".venv" / "bin" / "onceover"
    program.parent.mkdir(parents=True)
    program.touch()
    ran = keep_what_runs(monkeypatch, status=0)
    monkeypatch.setenv("ONCEOVER_KEY", key)
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)
    assert deploy_check.doctor("https://x.test", "free") == 0
    assert ran == [program, "doctor", "https://x.test", "--env", "free", *flags, "--deployed"]


def test_make_deploy_examines_the_deployment_if_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With VERIFY=1 it runs `onceover verify`, else it names the command and its price."""
    ran = keep_what_runs(monkeypatch, status=1)
    monkeypatch.delenv("VERIFY", raising=False)
    assert deploy_check.prove("https://x.test") == 0
    said = capsys.readouterr().out
    assert "60 model calls" in said
    assert "onceover verify --url https://x.test" in said
    assert ran == []
    monkeypatch.setenv("VERIFY", "1")
    assert deploy_check.prove("https://x.test") == 1
    assert ran[1:] == ["verify", "--url", "https://x.test", "--report", "verify"]
