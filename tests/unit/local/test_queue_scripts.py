"""The scripts create-cloudflare-queues: the POSIX one runs against a stand-in, and the PowerShell one is parsed."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from local.node import ROOT
from tests.support.cloud_account import EMPTY
from tests.support.deployed import QUEUES

pytestmark = pytest.mark.slow  # processes

POWERSHELL = ROOT / "create-cloudflare-queues.ps1"
POSIX = ROOT / "create-cloudflare-queues.sh"


class Shell:
    """Runs the POSIX script with a stand-in for `npx wrangler`."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "account.json"
        npx = folder / "npx"
        npx.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -m tests.support.cloud_account "{self.file}" "$@"\n')
        npx.chmod(0o755)
        self.path = f"{folder}:{os.environ['PATH']}"

    def run(self, *arguments: str, dies: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", POSIX, *arguments],
            cwd=folder,
            env={**os.environ, "PATH": self.path, "STAND_IN_DIES": dies},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def created(self) -> list[str]:
        return list(json.loads(self.file.read_text())["created"])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


BOTH = [f"queue {name}" for name in QUEUES]


def test_it_creates_both_queues_once(shell: Shell) -> None:
    tried = shell.run("--dry-run")
    assert tried.returncode == 0
    assert re.findall(r"What if: npx wrangler queues create (\S+)", tried.stdout) == list(QUEUES)
    assert shell.created == []
    for end in ("is created", "is there"):
        done = shell.run()
        assert done.returncode == 0, done.stderr
        assert [f"{name} {end}" for name in QUEUES] == done.stdout.splitlines()[:2]
        assert shell.created == BOTH


@pytest.mark.parametrize("dies", ["2 before", "2 after", "3 after", "4 before"])
def test_it_goes_on_where_it_was_stopped(shell: Shell, dies: str) -> None:
    shell.run(dies=dies)
    assert shell.run().returncode == 0
    assert shell.created == BOTH


@pytest.mark.parametrize(
    ("command", "said", "fix"),
    [
        ("queues create", "Queues are unavailable on the free plan. [code: 100129]", "make deploy ENV=free"),
        (
            "queues info",
            "you must enable your account at https://dash.cloudflare.com [code: 11002]",
            "make deploy ENV=free",
        ),
        ("queues info", "necessary to set a CLOUDFLARE_API_TOKEN environment variable", "npx wrangler login"),
        ("queues create", "Authentication error [code: 10000]", "Queues: Edit"),
        ("queues info", "More than one account available", "CLOUDFLARE_ACCOUNT_ID"),
        ("queues info", "something else", "docs/runbook.md"),
    ],
)
def test_a_refusal_has_its_fix(shell: Shell, command: str, said: str, fix: str) -> None:
    shell.file.write_text(json.dumps({**EMPTY, "refuse": [[command, said, -1]]}))
    done = shell.run()
    assert done.returncode == 1
    assert said in done.stderr
    assert fix in done.stderr.splitlines()[-1]
    assert shell.created == []
    assert fix in POWERSHELL.read_text()


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def powershell() -> list[Node]:
    tree = Parser(Language(tree_sitter_powershell.language())).parse(POWERSHELL.read_bytes())
    return list(nodes(tree.root_node))


def text(node: Node) -> str:
    return (node.text or b"").decode()


def test_the_powershell_script_parses() -> None:
    """PowerShell's grammar finds no error; it provides -WhatIf itself."""
    found = powershell()
    assert not [node for node in found if node.type == "ERROR" or node.is_missing]
    assert "[CmdletBinding(SupportsShouldProcess)]" in POWERSHELL.read_text()
    (guard,) = [text(node) for node in found if node.type == "if_statement" and "ShouldProcess" in text(node)]
    assert "continue" in guard


def test_both_scripts_run_the_same_commands() -> None:
    theirs = [text(node).removesuffix("2>&1 ").strip() for node in powershell() if node.type == "command"]
    ours = re.findall(
        r"^(?!#|.*What if).*?\b(npx wrangler queues (?:info|create|list)[^\n)]*)", POSIX.read_text(), re.MULTILINE
    )
    ours = [re.sub(r' 2>&1|"', "", command) for command in ours]
    assert [command for command in theirs if command.startswith("npx")] == ours
    fixes = [set(re.findall(r"fix ?= ?'([^']+)'", path.read_text())) for path in (POWERSHELL, POSIX)]
    assert fixes[0] == fixes[1] != set()


def test_the_queues_are_those_of_the_configuration() -> None:
    producers = tomllib.loads((ROOT / "wrangler.toml").read_text())["queues"]["producers"]
    names = [producer["queue"] for producer in producers]
    assert re.findall(r"'([a-z-]+)'", POWERSHELL.read_text().partition("$queues = ")[2].partition("\n")[0]) == names
    assert POSIX.read_text().partition("queues='")[2].partition("'")[0].split() == names
