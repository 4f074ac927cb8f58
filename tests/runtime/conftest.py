"""Servers that all tests of a module share, because each server takes seconds to start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, openai
from tests.support.dev_server import DevServer
from tests.support.model_server import ModelServer

ENVIRONMENTS = {"queue": (), "durable-object": ("--env", "free"), "direct": ("--env", "direct")}


@pytest.fixture(scope="module", params=list(ENVIRONMENTS))
def route(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key") as server:
        yield server


@pytest.fixture(scope="module")
def dev(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    state: Path = tmp_path_factory.mktemp("state")
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=2, LEASE_SECONDS=4, PLAN="paid", MODEL_PATIENCE_SECONDS=0)
    with DevServer(state, *ENVIRONMENTS[route], *flags, "--cron-every", "1") as server:
        yield server


@pytest.fixture(scope="module")
def client(dev: DevServer) -> Iterator[Client]:
    with Client(dev.url) as made:
        yield made
