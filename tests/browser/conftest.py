"""One server, one model, one receiver of webhooks and one browser for all tests of the dashboard."""

import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from local.wrangler_dev import free_port
from tests.support.browser import Watched, chromium
from tests.support.client import Client, openai, variables
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key
from tests.support.model_plan import Behaviour, Call, Plan, ended, hang, rate_limit
from tests.support.model_server import ModelServer
from tests.support.receiver import Receiver
from tests.support.stage import Stage

expect.set_options(timeout=20_000)


def behave(call: Call) -> Behaviour | None:
    """Fail the texts that a test wants to fail, cut off one part, and return hostile texts unchanged."""
    if "doom" in call.user:
        return Behaviour("status", status_code=400, text="<svg onload=alert(3)> no")
    if "lingers" in call.user:
        return hang()
    if "throttled" in call.user:
        return rate_limit(300)
    if "part 002" in call.user:
        return ended("length")
    return Behaviour("ok", text=call.user) if "<script>" in call.user else None


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """Serve a model whose calls a test can hold back."""
    with ModelServer(api_key="test-key", plan=Plan(decide=behave)) as server:
        yield server


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with Receiver() as made:
        yield made


@pytest.fixture(scope="session")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Serve the Worker, which requires keys and sends webhooks to this machine.

    The server has the same port at each start.
    """
    port = free_port()
    values = {"REQUIRE_KEYS": "true", "WEBHOOK_KEY": secrets.token_urlsafe(32), "WEBHOOK_LOOPBACK": "true"}
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=60, LEASE_SECONDS=90) + variables(values)
    with DevServer(tmp_path_factory.mktemp("state"), *flags, "--cron-every", "2", port=port) as started:
        yield started


@pytest.fixture(scope="session")
def key(server: DevServer) -> str:
    """A key with all scopes."""
    return insert_key(server.persist_to)


@pytest.fixture(scope="session")
def client(server: DevServer, key: str) -> Iterator[Client]:
    """A client of the API."""
    with Client(server.url) as made:
        made.http.headers["Authorization"] = f"Bearer {key}"
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one module at a time: while it is open, Playwright runs an event loop in this thread."""
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, server: DevServer) -> Iterator[Watched]:
    """Open a page in which no script may fail, and which may contact no other host."""
    watched = Watched(browser, server.url)
    yield watched
    watched.close()
    assert watched.faults == []
    assert not [request for request in watched.requests if "oo_" in request], "a key in an address"


@pytest.fixture
def stage(browser: Browser) -> Iterator[Stage]:
    """The page alone: the test says what the API answers. No script may fail in it either."""
    made = Stage(browser)
    yield made
    made.close()
    assert made.faults == []
