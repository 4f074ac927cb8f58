"""The commands of CONTRIBUTING.md work unchanged, in a copy of the repository with links to what is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from local.node import ROOT

INSTALLED = (".venv", "node_modules", "python_modules", ".build", "public/vendor/markdown")
ONE_FILE = 'make test PYTEST_ARGS="tests/unit/kernel/run/test_ledger.py"'
# Commands of CONTRIBUTING.md that the test runs, with a shorter replacement if a command takes long.
RUN = {
    "make install-dev": "make install-dev",
    "make quick": "make quick ONLY=bench",
    "make format": "make format",
    "make docs": "make docs",
    ONE_FILE: ONE_FILE.replace("make test", "make test PYTEST_PARALLEL="),
    "make simulate SEEDS=20000": "make simulate SEEDS=2",
    "make simulate SEED=17": "make simulate SEED=17",
}
# The beginnings of commands of CONTRIBUTING.md that the test cannot run, with the reason.
LEFT_OUT = {
    "pre-commit ": "pre-commit is the contributor's own tool, and no dependency of the project",
    "uv ": "it needs uv, and asks a registry",
    "npm install ": "it asks a registry",
}


def commands() -> list[str]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy all files that git tracks or would add, and link the folders of installed packages."""
    folder = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in INSTALLED:
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_every_command_is_run_or_left_out_for_a_reason():
    found = [command for command in commands() if not command.startswith(tuple(LEFT_OUT))]
    assert set(found) == set(RUN)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_the_command_runs(command: str, clone: Path):
    before = contents(clone)
    ended = subprocess.run(["bash", "-c", RUN[command]], cwd=clone, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert contents(clone) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not {".ruff_cache", "__pycache__", ".hypothesis", *INSTALLED} & set(path.relative_to(folder).parts)
    }
