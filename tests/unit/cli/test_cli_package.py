"""The command line as a package: what it requires, its metadata, and how a clone installs it."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import onceover_cli
from local import command_line, install
from tests.support.dev_server import ROOT

PROJECT = tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text("utf-8"))


def test_what_it_needs_is_what_it_is_tested_with():
    """Each package that the command line requires is pinned for the tests, at a version that the requirement allows."""
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\d+\.\d+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    asked = dict(one.split(">=") for one in PROJECT["project"]["dependencies"])
    assert set(asked) == {"httpx2", "rich", "typer"}
    for name, least in asked.items():
        assert [int(part) for part in pins[name].split(".")] >= [int(part) for part in least.split(".")]


def test_its_program_and_version_are_those_of_the_package():
    """`[project.scripts]` names a function, and the version of `onceover_cli` equals the version of the package."""
    module, _, function = PROJECT["project"]["scripts"]["onceover"].partition(":")
    assert callable(getattr(import_module(module), function))
    assert PROJECT["project"]["version"] == onceover_cli.__version__
    assert (ROOT / "cli" / "onceover_cli" / "py.typed").is_file()


def test_it_imports_nothing_of_the_worker():
    """Importing the whole command line loads no module of `src` or `local`, and no package of the Worker's."""
    script = "import sys, onceover_cli.main; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(ROOT / "cli")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'onceover_cli'" in done.stdout
    assert not {"'src'", "'local'", "'simulator'", "'workers'"} & set(re.findall(r"'\w+'", done.stdout))


def test_a_clone_runs_it_from_wherever_it_stands(tmp_path: Path):
    """A clone's launcher works with spaces in paths and arguments, and imports no module from the current folder."""
    scripts, packages, here = tmp_path / "a clone" / "bin", tmp_path / "packages", tmp_path / "here"
    for folder in (scripts, packages, here):
        folder.mkdir(parents=True)
    (here / "typer.py").write_text("raise SystemExit('the wrong one')")
    launcher = command_line.install(scripts, packages)
    assert (packages / "onceover_cli.pth").read_text() == f"{ROOT / 'cli'}\n"
    environment = {"PYTHONPATH": str(ROOT / "cli"), "LC_ALL": "C"}
    done = subprocess.run(
        [launcher, "run", "no such file"], cwd=here, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.decode() == "error: cannot read no such file: No such file or directory\n"


def test_make_install_installs_it():
    """`make install` installs the command line's package and its program."""
    (part,) = [part for part in install.RUN if part.folder.name == "onceover"]
    assert part.lock == ROOT / "cli" / "pyproject.toml"
    assert install.is_current(part)
    assert install.RUN.index(part) > [one.folder for one in install.RUN].index(install.VENV)
