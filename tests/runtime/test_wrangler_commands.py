"""Tests that every `npx wrangler …` in the documents is a command of the pinned version of wrangler, with flags that
this command has.

The tests need no account, because they read wrangler's own help.
"""

import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from local.node import ROOT, wrangler

SOURCES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "local" / "remote" / "fixes.toml"]
# Takes the place of a word that a command in the documents leaves out.
LEFT_OUT = "…"
# Matches words that are a command's arguments: the project's own names, and words in capitals.
_ARGUMENT = re.compile(r"onceover.*|ai-processing-.*|.*[A-Z…].*")


def _commands(path: Path) -> set[str]:
    text = path.read_text("utf-8").replace("\\\n", "")
    marked = re.findall(r"`(npx\s+wrangler\s[^`]+)`", text)
    lines = re.findall(r"^ *(npx wrangler .+)$", text, re.MULTILINE)
    single = [part.strip() for found in [*marked, *lines] for part in found.split("&&")]
    return {" ".join(part.split()) for part in single if part.startswith("npx")}


COMMANDS = sorted({command for path in SOURCES for command in _commands(path)})


@cache
def _help(words: tuple[str, ...]) -> str:
    """Return wrangler's help for the command with which these words begin.

    Words after the command's own words count as its arguments.
    """
    done = subprocess.run(
        wrangler(*words, "--help"),
        cwd=ROOT,
        env={
            **os.environ,
            "WRANGLER_SEND_METRICS": "false",
            "NO_COLOR": "1",
            "NODE_COMPILE_CACHE": str(ROOT / ".build" / "node"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_wrangler_has_the_command(command: str) -> None:
    """Each command in the documents exists in wrangler, with enough arguments, and has each of the flags."""
    words = shlex.split(command)[2:]
    plain = [word for word in words if not word.startswith("-")]
    said = _help(tuple(word for word in plain if not _ARGUMENT.fullmatch(word)))
    signature = re.search(r"^wrangler ([a-z0-9 -]+?)((?: [<\[][^>\]]+[>\]])*)$", said, re.MULTILINE)
    assert signature is not None, said
    path, arguments = signature[1].split(), re.findall(r"[<\[][^>\]]+[>\]]", signature[2])
    assert plain[: len(path)] == path, f"wrangler knows `{' '.join(path)}`"
    assert "COMMANDS" not in said.splitlines()[:6] or plain == path, said
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    known = set(re.findall(r"(?<=\s)--[a-z][a-z-]*", said))
    assert flags <= known, f"wrangler {signature[1]} has no {flags - known}"
    # The value of a flag looks like an argument, so too many arguments do not count as a fault.
    if len(words) > len(path) and LEFT_OUT not in plain:
        required = [argument for argument in arguments if argument.startswith("<")]
        assert len(plain) - len(path) >= len(required), f"wrangler {signature[1]} wants {required}"


def test_the_commands_of_the_pages_for_operators_are_among_them() -> None:
    """Among the commands that the tests find in the documents are the four that the pages for operators need."""
    for command in (
        "npx wrangler d1 export onceover --remote --output=.build/backup.sql --env=",
        "npx wrangler d1 time-travel restore onceover --timestamp=2026-11-25T12:00:00Z",
        "npx wrangler rollback VERSION --env=",
        "npx wrangler queues consumer remove ai-processing-queue onceover",
    ):
        assert command in COMMANDS
