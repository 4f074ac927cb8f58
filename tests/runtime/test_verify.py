"""`onceover verify` finds sound deployments sound, names the fault of broken ones, and leaves nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onceover_cli.connection import ApiClient, place
from onceover_cli.main import main
from onceover_cli.verify import trial
from tests.broken_deployments import BROKEN, SECONDS, Broken, examined, is_named, left
from tests.support.client import openai
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
# The clock that stands still while code runs, as Cloudflare's does, and a developer's.
CLOCKS = ("standing", pytest.param("moving", marks=pytest.mark.campaign))
EXAMINED = [pytest.param(one, marks=() if one.is_quick else pytest.mark.campaign, id=one.name) for one in BROKEN]


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("env", ["", "free", "direct"])
def test_a_sound_deployment_is_sound(tmp_path: Path, env: str, clock: str):
    seen = examined(tmp_path, *(("--env", env) if env else ()), "--clock", clock)
    assert seen.status == 0, seen.said
    verdicts = {one["check"]: one["verdict"] for one in seen.report["checks"]}
    assert set(verdicts.values()) == {"sound"}, seen.said
    routes = {"": {"queue", "durable-object"}, "free": {"durable-object"}}
    assert {name for name in verdicts if name.startswith("route")} == {
        f"route {route}" for route in routes.get(env, {"direct"})
    }
    assert 0 < seen.report["model calls"] <= 60
    assert seen.calls <= 60
    assert seen.left == []
    assert "k" * 32 not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("broken", EXAMINED)
def test_a_broken_deployment_is_named(tmp_path: Path, broken: Broken):
    """`make test` examines those that take less than a minute, the campaign all."""
    seen = examined(tmp_path, edits=broken.edits, plan=broken.plan)
    assert is_named(broken, seen), seen.said


def test_what_a_killed_run_left_is_removed_by_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that begins over ten minutes later removes what a killed one left, and an earlier one does not."""
    with ModelServer(latency_seconds=SECONDS) as model, DevServer(tmp_path, *openai(model.base_url)) as server:
        command = [sys.executable, "-m", "onceover_cli", "verify", "--url", server.url]
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: any(one.get("purpose") == "batch" for one in left(server.url)))
        running.send_signal(signal.SIGKILL)
        running.wait(60)
        remains = left(server.url)
        assert len(remains) > 5
        with ApiClient(place(server.url, None)) as api:
            assert trial.Trial(api, 0).clean(earlier=True) == 0
        assert left(server.url) == remains
        monkeypatch.setattr(trial, "SECONDS_MOST", -60.0)  # as if the killed run had begun long ago
        main(["verify", "--url", server.url])
        assert left(server.url) == []
