"""`onceover doctor FOLDER` reads .dev.vars as wrangler does, together with the variables of wrangler.toml."""

from pathlib import Path

import pytest

from local import dev_vars
from onceover_cli.doctor import dotenv, folder
from onceover_cli.doctor.findings import Check
from tests.unit.cli.test_cli_doctor import clone, complaints, secrets

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
