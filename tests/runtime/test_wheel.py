"""The command line's wheel, installed into an empty environment, does a task of `make dev` and examines it."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from src.kernel.domain.version import VERSION
from tests.support.dev_server import ROOT, DevServer

pytestmark = [pytest.mark.runtime, pytest.mark.campaign]  # pip downloads what the wheel depends on


def test_the_wheel_runs_a_task_and_verifies(tmp_path: Path):
    def said(*command: str | Path) -> str:
        """Run a command outside the clone, whose modules it must not find, and return what it printed."""
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        return done.stdout

    said(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT / "cli")
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty" / "bin"
    said(programs / "pip", "install", "--quiet", wheel)
    assert VERSION in said(programs / "onceover", "--version")
    with DevServer(tmp_path / "state") as server:
        result = said(programs / "onceover", "run", ROOT / "examples" / "english.txt", "--url", server.url)
        assert result.startswith("## PRIDE AND PREJUDICE\n")
        report = said(programs / "onceover", "verify", "--url", server.url)
        assert VERSION in report
        assert "| route queue | sound |" in report
