"""Tests the two sets of packages (for running, and for tests), and commands without a usable home folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import install
from tests.support.dev_server import ROOT
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
        """Run the installation. Return the names of the sets of packages that `make` installed."""
        self.log.clear()
        assert install.main(arguments) == 0
        return list(self.log)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    return Clone(tmp_path, monkeypatch)


def test_make_install_installs_what_running_needs(clone: Clone) -> None:
    """`make install` replaces the set of packages for running by the set for tests, which includes it."""
    assert [clone.make(), clone.make()] == [["run"], []]
    assert [clone.make("--dev"), clone.make("--dev"), clone.make()] == [["dev"], [], []]
    assert (clone.folder / "set").read_text() == "dev"


def test_a_newer_tool_of_the_tests_is_no_reason_to_install_for_running(clone: Clone) -> None:
    """If only the lock file dev.txt has changed, running the Worker needs no new installation, but `make test` does."""
    clone.make("--dev")
    clone.dev_lock.write_text("dev 2")
    assert [clone.make(), clone.make("--dev")] == [[], ["dev"]]
    clone.run_lock.write_text("run 2")
    clone.dev_lock.write_text("dev 3")
    assert [clone.make(), clone.make("--dev")] == [["run"], ["dev"]]


def test_an_installation_of_before_the_two_sets_is_kept(clone: Clone) -> None:
    """An installation is kept if its stamp was written by an older version, with only the digest of the lock file
    dev.txt.
    """
    clone.make("--dev")
    (stamp,) = install.STAMPS.iterdir()
    stamp.write_text(stamp.read_text().splitlines()[0])
    assert [clone.make(), clone.make("--dev")] == [[], []]


def test_a_venv_whose_python_is_gone_is_made_anew(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .venv whose Python no longer exists, as after an update or in a container, is replaced."""
    monkeypatch.setattr(install, "VENV", clone.folder)
    python = clone.folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert [clone.make(), clone.make()] == [["run"], []]
    python.unlink()
    python.symlink_to(clone.folder / "gone")
    assert clone.make() == ["run"]


def home_under_make(**environment: str) -> str:
    """Return the HOME that a recipe of the Makefile gets in the given environment."""
    without = {name: value for name, value in os.environ.items() if name not in OF_THE_OUTER_MAKE and name != "HOME"}
    done = subprocess.run(
        ["make", "-s", "--eval", "show: ; @echo $$HOME", "show"],
        cwd=ROOT,
        env={**without, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("home", ["/dev/null", "{tmp}/absent", "{tmp}/file", ""])
def test_without_a_usable_home_the_commands_have_one_in_the_clone(home: str, tmp_path: Path) -> None:
    """Without a usable HOME, make's commands get a home folder in the clone, because npm and wrangler need one."""
    (tmp_path / "file").write_text("")
    assert home_under_make(HOME=home.format(tmp=tmp_path)) == str(ROOT / ".build" / "home")
    assert home_under_make() == str(ROOT / ".build" / "home")
    assert home_under_make(HOME=str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize(("target", "flag"), [("dev", "--help"), ("model", "--help"), ("dev", "-h")])
def test_the_help_of_a_command_installs_nothing(target: str, flag: str, tmp_path: Path) -> None:
    """In a clone without an installation and without npm, a command's help prints the flags and writes no file."""
    listed = subprocess.run(
        ["git", "ls-files", "Makefile", "local", "wrangler.toml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    without = {name: value for name, value in os.environ.items() if name not in OF_THE_OUTER_MAKE}
    done = subprocess.run(
        ["make", target, f"ARGS={flag}"],
        cwd=tmp_path,
        env={**without, "PATH": f"{python.parent}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: make {target}")
    assert not [name for name in (".venv", "node_modules", "python_modules", ".build") if (tmp_path / name).exists()]
