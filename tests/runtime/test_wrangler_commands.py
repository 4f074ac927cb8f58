"""The installed wrangler knows every command that a deployment gives it, and stops at the missing login alone."""

import os
import subprocess
from pathlib import Path

import pytest

from local.cloud import plain
from local.fixes import fix_for
from local.node import ROOT, wrangler
from tests.support.cloud_account import CloudAccount
from tests.support.deployed import QUEUES

pytestmark = pytest.mark.runtime

COMMANDS = (
    "d1 list --json --env=",
    "d1 create onceover --env=free",
    "d1 migrations apply DB --remote --env=direct",
    f"queues info {QUEUES[0]} --env=",
    f"queues create {QUEUES[0]} --env=",
    "deployments list --json --env=free",
    "deploy --env=",
    "rollback version-1 --yes --message back --env=direct",
    "secret list --env=",
    "secret put AI_API_KEY --env=free",
)


def test_every_command_is_known(tmp_path: Path) -> None:
    """Without a login each one says that there is none, in the words that the fix is found by, and nothing else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDFLARE_")}
    env = {**kept, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "WRANGLER_SEND_METRICS": "false"}
    running = {
        command: subprocess.Popen(
            wrangler(*command.split()),
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in (*COMMANDS, "whoami --json")
    }
    said = {command: plain(process.communicate(timeout=120)[0]) for command, process in running.items()}
    assert {command: process.returncode for command, process in running.items()} == dict.fromkeys(running, 1)
    assert {command: fix_for(text).id for command, text in said.items()} == dict.fromkeys(running, "not-logged-in")


def test_the_stand_in_knows_the_same_commands(tmp_path: Path) -> None:
    """What the tests of a deployment rely on is what the real one was asked above."""
    account = CloudAccount(tmp_path / "account.json")
    for command in (
        "login",
        *(command for command in COMMANDS if "secret put" not in command and "rollback" not in command),
    ):
        account(*command.split())
    known = {" ".join(word for word in call.split() if not word.startswith("-")) for call in account.state["calls"]}
    assert {"d1 list", "d1 create onceover", "d1 migrations apply DB", "deploy"} <= known
