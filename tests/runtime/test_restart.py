"""Tests a restart of `make dev` during tasks: it ends the leases of the old workers, because these are dead."""

from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
LEASE_SECONDS = 600  # The lease is so long that a test that waited for its end would fail.


@pytest.mark.parametrize("route", ["queue", "durable-object"])
def test_a_task_goes_on_after_ctrl_c_and_a_restart(route: str, tmp_path: Path):
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(30))) as model:
        flags = (*ENVIRONMENTS[route], *openai(model.base_url, LEASE_SECONDS=LEASE_SECONDS), "--cron-every", "2")
        with DevServer(tmp_path / "state", *flags) as server, Client(server.url) as client:
            task_id = client.submit(paragraphs(1))["id"]
            eventually(model.calls)
            server.stop()
        model.plan = Plan()
        with DevServer(tmp_path / "state", *flags) as server, Client(server.url) as client:
            task = client.finished(task_id, 120)
    assert (task["status"], task["usage"]["modelCalls"], task["usage"]["inDoubt"]) == ("completed", 2, 1)
