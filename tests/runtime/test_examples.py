"""The programs in `examples/` run as they stand, and print what examples/README.md shows."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from local.node import ROOT, find_node
from tests.support.client import variables
from tests.support.dev_server import DevServer, eventually
from tests.support.programs import output_of, ran
from tests.support.receiver import Receiver
from tests.support.shell_blocks import blocks

pytestmark = pytest.mark.runtime
FOLDER = ROOT / "examples"
OUTPUTS = blocks(FOLDER / "README.md", "text")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the built-in model, which may send webhooks to this machine."""
    hooks = variables({"WEBHOOK_KEY": "k" * 32, "WEBHOOK_LOOPBACK": "true"})
    with DevServer(tmp_path_factory.mktemp("state"), *hooks) as server:
        yield server.url


def printed(url: str, program: str, *arguments: str) -> str:
    command: list[str | Path] = [sys.executable, FOLDER / program, FOLDER / arguments[0], *arguments[1:]]
    environ = {**os.environ, "ONCEOVER_URL": url}
    return output_of(command, cwd=ROOT, env=environ)


@pytest.mark.parametrize(
    ("program", "argument"), [("contracts.py", "contracts"), ("outline.py", "english.txt"), ("agent.py", "english.txt")]
)
def test_a_program_prints_what_the_page_shows(url: str, program: str, argument: str):
    assert printed(url, program, argument) in OUTPUTS


def test_a_digest_is_made_at_its_time(url: str):
    """The page shows a digest of 02:00, and the test asks for one of a moment later, which waits as well."""
    at = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%H:%M:%S")
    assert printed(url, "digest.py", "contracts", at).replace(at, "02:00") in OUTPUTS


def test_the_route_takes_signed_webhooks_alone(url: str, tmp_path: Path):
    with Receiver() as receiver:
        asked = {"name": "one", "url": f"{receiver.url}/hook", "event_types": ["task.completed"]}
        secret = httpx.post(f"{url}/v1/webhook_endpoints", json=asked).json()["signing_secret"]
        assert httpx.post(f"{url}/api/tasks", json={"input": "A text.", "metadata": {"name": "one"}}).status_code == 202
        (message,) = eventually(lambda: receiver.at("/hook"))
    program = tmp_path / "post.mjs"
    program.write_text(
        f"""import {{ POST }} from {str(FOLDER / "route.ts")!r};
const headers = JSON.parse(process.env.HEADERS);
for (const body of [process.env.BODY, process.env.BODY, process.env.BODY + " "])
  console.log((await POST(new Request("http://localhost/onceover", {{ method: "POST", headers, body }}))).status);
"""
    )
    own = {"ONCEOVER_URL": url, "ONCEOVER_WEBHOOK_SECRET": secret, "BODY": message.body}
    headers = {name: value for name, value in message.headers.items() if name.startswith("webhook-")}
    environ = {**os.environ, **own, "HEADERS": str(headers).replace("'", '"')}
    done = ran([find_node(), program], env=environ)
    said, *statuses = done.stdout.splitlines()
    assert said.startswith("one: "), done.stderr
    assert statuses == ["204", "204", "401"]


def test_each_program_is_short():
    for program in [*FOLDER.glob("*.py"), *FOLDER.glob("*.ts")]:
        assert program.read_text("utf-8").count("\n") < 80
