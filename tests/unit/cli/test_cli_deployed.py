"""`onceover doctor --deployed` fails only for faults that the deployment itself can cause."""

from pathlib import Path
from typing import Any

import pytest

from local.remote import deploy_check
from onceover_cli.doctor.deployment import OF_THE_DEPLOYMENT
from tests.support.fake_api import FakeApi
from tests.unit.cli.test_cli_commands import Runs, conforms
from tests.unit.cli.test_cli_doctor import BROKEN_DEPLOYMENTS, Deployment, Level

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


@pytest.mark.parametrize(("key", "flags"), [("", []), (" ", []), ("oo_key", ["--task"])])
def test_make_deploy_asks_for_that(key: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".venv" / "bin" / "onceover"
    program.parent.mkdir(parents=True)
    program.touch()
    ran: list[Any] = []

    class Done:
        returncode = 0

    def keep(command: list[Any], **_options: Any) -> Done:
        ran.extend(command)
        return Done()

    monkeypatch.setenv("ONCEOVER_KEY", key)
    monkeypatch.setattr(deploy_check, "ROOT", tmp_path)
    monkeypatch.setattr("subprocess.run", keep)
    assert deploy_check.doctor("https://x.test", "free") == 0
    assert ran == [program, "doctor", "https://x.test", "--env", "free", *flags, "--deployed"]


def test_make_deploy_examines_the_deployment_if_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With VERIFY=1 it runs `onceover verify`, else it names the command and its price."""
    ran: list[Any] = []

    class Done:
        returncode = 1

    def keep(command: list[Any], **_options: Any) -> Done:
        ran.extend(command)
        return Done()

    monkeypatch.setattr("subprocess.run", keep)
    monkeypatch.delenv("VERIFY", raising=False)
    assert deploy_check.prove("https://x.test") == 0
    said = capsys.readouterr().out
    assert "60 model calls" in said
    assert "onceover verify --url https://x.test" in said
    assert ran == []
    monkeypatch.setenv("VERIFY", "1")
    assert deploy_check.prove("https://x.test") == 1
    assert ran[1:] == ["verify", "--url", "https://x.test", "--report", "verify"]
