"""Tests the two sets of packages (for running, and for tests), and commands without a usable home folder."""

import os
import sys
from pathlib import Path

import pytest

from local import install
from tests.support.dev_server import ROOT
from tests.support.programs import output_of, ran
from tests.support.shell_blocks import OF_THE_OUTER_MAKE

# This script stands in for an installation: it writes the name of its set of packages into the folder.
SCRIPT = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / "set").write_text(sys.argv[2])
"""


class Clone:
    """A clone of the project in which scripts stand in for the installation of the two sets of packages."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "venv"
        self.run_lock, self.dev_lock = folder / "run.txt", folder / "dev.txt"
        self.run_lock.write_text("run 1")
        self.dev_lock.write_text("dev 1")
        self.log: list[str] = []
        run = install.Part(self.folder, self.run_lock, "a", self.commands("run"), whole=self.dev_lock)
        dev = install.Part(self.folder, self.dev_lock, "b", self.commands("dev"), holds=run)
        monkeypatch.setattr(install, "STAMPS", folder / "stamps")
        monkeypatch.setattr(install, "RUN", (run,))
        monkeypatch.setattr(install, "DEV", (dev,))

    def commands(self, name: str):
        def write() -> list[list[str]]:
            self.log.append(name)
            return [[sys.executable, "-c", SCRIPT, str(self.folder), name]]

        return write

    def make(self, *arguments: str) -> list[str]:
        self.log.clear()
        assert install.main(arguments) == 0
        return list(self.log)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    return Clone(tmp_path, monkeypatch)


def test_make_install_installs_what_running_needs(clone: Clone) -> None:
    assert [clone.make(), clone.make()] == [["run"], []]
    assert [clone.make("--dev"), clone.make("--dev"), clone.make()] == [["dev"], [], []]
    assert (clone.folder / "set").read_text() == "dev"


@pytest.mark.parametrize(("target", "flag"), [("dev", "--help"), ("model", "--help"), ("dev", "-h")])
def test_the_help_of_a_command_installs_nothing(target: str, flag: str, tmp_path: Path) -> None:
    for name in output_of(["git", "ls-files", "Makefile", "local", "wrangler.toml"], cwd=ROOT).split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    without = {name: value for name, value in os.environ.items() if name not in OF_THE_OUTER_MAKE}
    environment = {**without, "PATH": f"{python.parent}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    done = ran(["make", target, f"ARGS={flag}"], cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: make {target}")
    assert not [name for name in (".venv", "node_modules", "python_modules", ".build") if (tmp_path / name).exists()]
