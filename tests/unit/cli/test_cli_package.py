"""The command line as a package: what it requires, its metadata, and how a clone installs it."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module

import onceover_cli
from tests.support.dev_server import ROOT

PROJECT = tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text("utf-8"))


def test_what_it_needs_is_what_it_is_tested_with():
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\d+\.\d+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE))
    asked = dict(one.split(">=") for one in PROJECT["project"]["dependencies"])
    assert set(asked) == {"httpx2", "rich", "typer"}
    for name, least in asked.items():
        assert [int(part) for part in pins[name].split(".")] >= [int(part) for part in least.split(".")]


def test_its_program_and_version_are_those_of_the_package():
    module, _, function = PROJECT["project"]["scripts"]["onceover"].partition(":")
    assert callable(getattr(import_module(module), function))
    assert PROJECT["project"]["version"] == onceover_cli.__version__
    assert (ROOT / "cli" / "onceover_cli" / "py.typed").is_file()


def test_it_imports_nothing_of_the_worker():
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
