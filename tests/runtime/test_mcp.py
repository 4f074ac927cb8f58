"""Both official clients of the Model Context Protocol, and its conformance suite, on the real runtime."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from local.node import ROOT, find_node
from tests.suites import conformance
from tests.support.client import openai
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer
from tests.support.programs import output_of

pytestmark = pytest.mark.runtime
CLIENTS = ROOT / "tests" / "clients"
CHARS = 49_900  # of each of the ten outputs
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


class Deployment(NamedTuple):
    """A Worker that requires keys, a key of each tenant, and an expired key."""

    url: str
    state: Path
    expired: str


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A Worker whose model writes long outputs, and is slow for the text `slow`."""
    state = tmp_path_factory.mktemp("state")
    plan = Plan(by_text={"slow": [slow(30)] * 100})
    with (
        ModelServer(plan=plan, output_chars=CHARS) as model,
        DevServer(state, *openai(model.base_url, REQUIRE_KEYS="true")) as server,
    ):
        yield Deployment(f"{server.url}/mcp", state, insert_key(state, expired=True))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    "program",
    [[sys.executable, CLIENTS / "mcp_walk.py"], [find_node(), CLIENTS / "mcp_walk.mjs"]],
    ids=["python", "javascript"],
)
def test_an_official_client_uses_each_tool(deployment: Deployment, program: list[str | Path], mode: str):
    tenant = f"{Path(program[1]).suffix[1:]}-{mode}"
    command = [*program, deployment.url, insert_key(deployment.state, tenant), deployment.expired, mode]
    seen: dict[str, Any] = json.loads(output_of(command, cwd=ROOT))
    assert seen == {
        "lost": True,
        "revision": "2026-07-28" if mode == "auto" else "2025-11-25",
        "tools": ["analyse", "wait", "result", "cancel", "list"],
        "status": "completed",
        "tasks": 1,
        "pages": [50_000] * 9 + [10 * CHARS + 18 - 450_000],
        "after the last": "The result ends before page 11.",
        "cancelled": "cancelled",
        "cancelled result": "refused",
        "wrong argument": "refused",
        "expired": True,
    }


def test_what_clients_never_send(deployment: Deployment):
    key = {"authorization": f"Bearer {insert_key(deployment.state)}"}

    def send(body: Any = MESSAGE, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(deployment.url, json=body, headers=key | named, timeout=60)

    assert send().status_code == 200
    expired = httpx.post(deployment.url, json=MESSAGE, headers={"authorization": f"Bearer {deployment.expired}"})
    assert (expired.status_code, expired.headers["www-authenticate"]) == (401, "Bearer")
    assert send(origin="https://evil.example").status_code == 403
    assert send(origin=deployment.url.removesuffix("/mcp")).status_code == 200
    large = send(MESSAGE | {"params": {"text": "x" * 20_000_000}})
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert send([MESSAGE, MESSAGE]).status_code == 400
    unknown = send(mcp_protocol_version="2025-06-18")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, -32022)
    for method in ("GET", "DELETE"):
        assert httpx.request(method, deployment.url, headers=key).status_code == 405


def test_the_conformance_suite(tmp_path: Path):
    """The scenarios that need none of the suite's own tools pass: initialize, ping, tools/list, DNS rebinding."""
    with DevServer(tmp_path) as server:
        figures, wrong = conformance(f"{server.url}/mcp")
    assert (figures["scenarios passed"], wrong) == (4, [])
