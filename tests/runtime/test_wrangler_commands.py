"""Every `npx wrangler …` in the documents is a command of the pinned version, with its flags."""

import json
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from local.node import ROOT, find_node
from tests.support.programs import output_of

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


@dataclass(frozen=True)
class Known:
    """A command of wrangler: the names of the arguments that it requires, and its flags."""

    required: list[str]
    flags: frozenset[str]


type Commands = dict[tuple[str, ...], Known]


@pytest.fixture(scope="module")
def known() -> Commands:
    """Return each command of wrangler by its words. One process reads all of them, because each start takes long."""
    program = [str(find_node()), "--disable-warning=ExperimentalWarning", "tests/support/wrangler_commands.mjs"]
    listed = json.loads(output_of(program, cwd=ROOT))
    return {tuple(one["words"]): Known(one["required"], frozenset(one["flags"])) for one in listed}


def _fault(command: str, known: Commands) -> str | None:
    words = shlex.split(command)[2:]
    plain = [word for word in words if not word.startswith("-")]
    path = tuple(plain)
    while path and path not in known:
        path = path[:-1]
    values = {after for word, after in pairwise(words) if word.startswith("--") and "=" not in word}
    others = [word for word in plain[len(path) :] if word not in values and not _ARGUMENT.fullmatch(word)]
    if not path or (others and not known[path].required):
        return f"wrangler has no command `{' '.join(plain)}`"
    flags = {word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    if strange := flags - known[path].flags:
        return f"wrangler {' '.join(path)} has no {strange}"
    # The value of a flag looks like an argument, so too many arguments do not count as a fault.
    if len(words) > len(path) and LEFT_OUT not in plain and len(plain) - len(path) < len(known[path].required):
        return f"wrangler {' '.join(path)} wants {known[path].required}"
    return None


@pytest.mark.parametrize("command", COMMANDS)
def test_wrangler_has_the_command(command: str, known: Commands) -> None:
    assert _fault(command, known) is None
