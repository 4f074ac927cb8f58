"""Runs the steps of the runbook as written (commands in blocks and in sentences) on a server that requires keys."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support import shell_blocks
from tests.support.client import Client
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.receiver import Receiver

pytestmark = pytest.mark.runtime
# The errors at the end of the page come from an account; tests/unit/local/test_deploy.py provokes them.
_TEXT = (ROOT / "docs" / "runbook.md").read_text("utf-8").partition("\n## Errors by their text\n")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", _TEXT, re.DOTALL | re.MULTILINE)
_MARKED = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", _TEXT, flags=re.DOTALL | re.MULTILINE))
REQUESTS = list(dict.fromkeys(mark for mark in _MARKED if re.match(r"(GET|POST|DELETE) /", mark)))
PROGRAMS = list(dict.fromkeys(mark for mark in _MARKED if re.match(r"(curl|onceover|make) ", mark)))
NOT_RUN = {
    "POST /api/sweep": "the command with curl does the same, and a second one within 30 s is refused",
    "POST /api/tasks/{id}/retry": "needs a task that has spent its budget; tests/api/test_terms.py does it",
}


@dataclass
class World:
    """A server for the runbook: an ended task with a delivery, an endpoint, and a key to revoke."""

    server: DevServer
    key: str
    operator_key: str
    receiver: Receiver
    ids: dict[str, str]

    def path(self, written: str) -> str:
        kind = written.split("/")[2]
        return written.replace("{id}", self.ids.get(kind, ""))

    def command(self, written: str) -> str:
        named = {"ID": self.ids["endpoint"], "NAME": "another", "URL": f"{self.receiver.url}/another"}
        if not written.startswith("onceover "):
            return written
        if "keys revoke" in written:
            named["ID"] = self.ids["keys"]
        return re.sub(r"(?<= )(ID|NAME|URL)\b", lambda found: named[found[1]], written)

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a shell in which the runbook's variables `URL` and `KEY` are set."""
        url, key = self.server.url, self.operator_key if script.startswith("onceover tenant ") else self.key
        return shell_blocks.run(script, URL=url, KEY=self.key, ONCEOVER_URL=url, ONCEOVER_KEY=key)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state: Path = tmp_path_factory.mktemp("state")
    values = {"WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true", "REQUIRE_KEYS": "true"}
    flags = [part for name, value in values.items() for part in ("--var", f"{name}:{value}")]
    with Receiver() as receiver, DevServer(state, *flags, "--cron-every", "1") as server:
        key, operator_key = insert_key(state), insert_key(state, operator=True)
        with Client(server.url, key) as client:
            sent = {"name": "one", "url": f"{receiver.url}/one", "event_types": ["task.completed"]}
            endpoint = client.http.post("/v1/webhook_endpoints", json=sent).raise_for_status().json()["id"]
            spare = (
                client.http.post("/api/keys", json={"scopes": ["read"], "label": "spare"})
                .raise_for_status()
                .json()["id"]
            )
            task = client.finished(client.submit("A text.")["id"])["id"]
            (delivery,) = eventually(lambda: client.http.get(f"/api/tasks/{task}/deliveries").json()["deliveries"])
        ids = {"tasks": task, "deliveries": delivery["id"], "keys": spare, "endpoint": endpoint}
        yield World(server, key, operator_key, receiver, ids)


def test_nothing_is_overlooked() -> None:
    assert len(REQUESTS) >= 10
    assert {program.split()[0] for program in PROGRAMS} == {"curl", "onceover", "make"}
    assert set(NOT_RUN) <= set(REQUESTS)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_with_a_key(block: str, world: World) -> None:
    if block.startswith("npx wrangler tail"):
        return  # test_wrangler_commands.py
    done = world.run(block.replace("curl -s ", "curl -s --fail-with-body "))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("request_line", [line for line in REQUESTS if line not in NOT_RUN])
def test_a_request_of_a_sentence_is_answered(request_line: str, world: World) -> None:
    method, path = request_line.split(" ")
    answer = httpx.request(
        method, world.server.url + world.path(path), headers={"Authorization": f"Bearer {world.key}"}, timeout=60
    )
    assert answer.is_success, f"{request_line}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_of_a_sentence_runs(program: str, world: World) -> None:
    command = world.command(program)
    if command.startswith("make "):
        command = command.replace("make ", "make -n ", 1)
    done = world.run(command.replace("curl -s ", "curl -s --fail-with-body "))
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
