"""Fixtures for the tests of the dashboard: a server, a model, a receiver of webhooks, and a browser."""

import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Watched, chromium
from tests.support.client import Client, openai, variables
from tests.support.dev_server import DevServer
from tests.support.loopback import reserved_port
from tests.support.make_key import insert_key
from tests.support.model_plan import Behaviour, Call, Plan, ended, hang, rate_limit
from tests.support.model_server import ModelServer
from tests.support.receiver import Receiver
from tests.support.stage import Stage

expect.set_options(timeout=60_000)  # as for httpx in tests/conftest.py: a busy machine may need long


def behave(call: Call) -> Behaviour | None:
    if "doom" in call.user:
        return Behaviour("status", status_code=400, text="<svg onload=alert(3)> no")
    if "lingers" in call.user:
        return hang()
    if "throttled" in call.user:
        return rate_limit(300)
    if "part 002" in call.user:
        return ended("length")
    return Behaviour("ok", text=call.user) if "<script>" in call.user else None


@pytest.fixture(scope="package")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", plan=Plan(decide=behave)) as server:
        yield server


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture(scope="package")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Serve the Worker with keys, webhooks to this machine, and the same port at each start."""
    port = reserved_port()
    values = {"REQUIRE_KEYS": "true", "WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=60, LEASE_SECONDS=90) + variables(values)
    with DevServer(tmp_path_factory.mktemp("state"), *flags, "--cron-every", "2", port=port) as started:
        yield started


@pytest.fixture(scope="package")
def key(server: DevServer) -> str:
    return insert_key(server.persist_to)


@pytest.fixture(scope="package")
def client(server: DevServer, key: str) -> Iterator[Client]:
    with Client(server.url) as made:
        made.http.headers["Authorization"] = f"Bearer {key}"
        yield made


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run Chromium for this folder only, because Playwright runs an event loop in this thread meanwhile."""
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, server: DevServer) -> Iterator[Watched]:
    watched = Watched(browser, server.url)
    yield watched
    watched.close()
    assert watched.faults == []
    assert not [request for request in watched.requests if "oo_" in request], "a key in an address"


@pytest.fixture
def stage(browser: Browser) -> Iterator[Stage]:
    """Open the page without a server: the test sets the answers of the API."""
    made = Stage(browser)
    yield made
    made.close()
    assert made.faults == []
