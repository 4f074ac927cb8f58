"""Tests `make` before anything is installed: which Python, npm and Node.js it uses, and what it prints."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local import install, node
from tests.support.dev_server import ROOT
from tests.support.programs import ran

FIND_PYTHON = ROOT / "local" / "find_python.sh"
type Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def write(name: str, body: str) -> Path:
        folder = tmp_path / f"bin{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        script = folder / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        return script

    return write


def find_python(folder: Path, path: list[Path]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.pathsep.join(str(script.parent) for script in path)}
    return ran(["/bin/sh", FIND_PYTHON], cwd=folder, env=environment)


def test_python_is_searched_by_running_each_candidate(tmp_path: Path, program: Program) -> None:
    shim = program("python3.13", "echo 'not installed' >&2; exit 127")
    old = program("python3", "exit 1")
    good = program("python3", f'exec {sys.executable} "$@"')
    found = find_python(tmp_path, [shim, old, good])
    assert found.returncode == 0
    assert found.stdout.strip() == sys.executable
    assert found.stderr == ""


def test_no_python_that_is_new_enough_is_an_error_that_lists_what_there_is(tmp_path: Path, program: Program) -> None:
    shim = program("python3.12", "exit 127")
    old = program("python3", 'case "$2" in *lacks*) echo 3.11.7;; *) exit 1;; esac')
    found = find_python(tmp_path, [shim, old])
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr == (
        f"error: Python 3.12 or newer with venv is needed; found {shim} (not working), {old} (3.11.7)\n"
    )


@pytest.mark.parametrize(
    ("version", "says"), [("v20.20.2", "the node on PATH is 20.20.2"), (None, "there is none on PATH")]
)
def test_a_node_that_is_too_old_is_an_error(
    version: str | None, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: Program
) -> None:
    path = program("node", f"echo {version}").parent if version else tmp_path
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(node, "ROOT", tmp_path)
    with pytest.raises(node.NodeMissing, match=f"Node.js 22 or newer is needed, and {says}"):
        node.find_node.__wrapped__()


def test_an_installation_is_done_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock, folder, ran = tmp_path / "lock", tmp_path / "folder", tmp_path / "ran"
    lock.write_text("one")
    script = f"import pathlib; pathlib.Path({str(folder)!r}).mkdir(exist_ok=True); open({str(ran)!r}, 'a').write('x')"
    part = install.Part(folder, lock, "a part", lambda: [[sys.executable, "-c", script]])
    monkeypatch.setattr(install, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(install, "RUN", (part,))

    assert [install.main([]), install.main([])] == [0, 0]
    assert ran.read_text() == "x"
    lock.write_text("two")
    assert install.main([]) == 0
    folder.rmdir()
    assert install.main([]) == 0
    assert ran.read_text() == "xxx"


def test_a_failed_installation_is_shown_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lock").write_text("one")
    command = [sys.executable, "-c", "import sys; sys.exit('registry out of reach')"]
    part = install.Part(tmp_path / "folder", tmp_path / "lock", "a part", lambda: [command])
    monkeypatch.setattr(install, "STAMPS", tmp_path / "stamps")
    monkeypatch.setattr(install, "RUN", (part,))
    assert install.main([]) == 1
    assert "error: could not install a part\nregistry out of reach" in capsys.readouterr().err
    assert not install.is_current(part)
