"""The command line as a package, and how `onceover doctor FOLDER` reads .dev.vars."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import onceover_cli
from local import dev_vars
from onceover_cli.doctor import dotenv, folder
from onceover_cli.doctor.findings import Check
from tests.support.dev_server import ROOT
from tests.unit.cli.test_cli_doctor import clone, complaints, secrets

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


__all__ = ("clone",)
TEXTS = {
    "a comment": "AI_PROVIDER=openai # ours\nAI_BASE_URL=http://127.0.0.1:1/v1\n",
    "a comment behind quotes": "AI_PROVIDER='openai' # mine\nAI_BASE_URL=\"http://x/v1#a\"\n",
    "several lines": 'AI_PROVIDER=demo\nAI_MODEL="first\nsecond"\n',
    "a colon": "AI_PROVIDER: demo\n",
    "a comment with an equals sign": "# AI_PROVIDER=workers-ai\n  # LEASE_SECONDS=1\nAI_PROVIDER=demo\n",
    "a lone number in quotes": "LEASE_SECONDS='300' # seconds\nAI_TIMEOUT_SECONDS=200\n",
    "twice": "AI_PROVIDER=workers-ai\nAI_PROVIDER=demo\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_dotenv_reads_is_no_false_alarm(name: str, clone: Path) -> None:
    secrets(TEXTS[name])(clone)
    assert complaints(folder.examine(clone, None)) == []


@pytest.mark.parametrize("text", [*TEXTS.values(), 'a\nB=\'x\n=2\nC = `1\n2`\nexport D=4 #5\nE="x\\ny"\nF=\n'])
def test_it_reads_as_make_dev_does(text: str) -> None:
    """Its own copy of the expression reads .dev.vars alike: it imports nothing of the project."""
    assert dotenv._LINE.pattern == dev_vars._LINE.pattern
    assert dotenv.assignments(text) == dev_vars.assignments(text)
    told = [one for one in dev_vars.SecretsFile("f", text).faults() if "must be" in one]
    assert [f"line {number} of f" for number in dotenv.idle_lines(text)] == [one.partition(" must")[0] for one in told]


def of_secrets(clone: Path, env: str | None = None) -> list[Check]:
    return [check for check in complaints(folder.examine(clone, env)) if ".dev.vars" in check.evidence]


def test_the_file_of_the_environment_wins(clone: Path) -> None:
    secrets("LEASE_SECONDS=1\n")(clone)
    path = clone / ".dev.vars.free"
    path.write_text("AI_PROVIDER=demo\n")
    path.chmod(0o600)
    assert of_secrets(clone, "free") == []
    assert of_secrets(clone, "") != []
