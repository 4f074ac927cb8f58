"""Unmodified SDKs get objects of the client's models while answers are lost: what completes parses."""

import sys
from collections.abc import Iterator

import pytest

from local.node import find_node
from tests.clients.people import PeopleModel, check_structured
from tests.support.client import openai
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Worker whose model writes JSON inside other text, or writes wrong JSON at first, or never writes right JSON."""
    with (
        ModelServer(api_key="test-key", plan=Plan(decide=PeopleModel())) as model,
        DevServer(tmp_path_factory.mktemp("state"), *openai(model.base_url)) as server,
    ):
        yield server.url


def test_pydantic_models(url: str):
    assert check_structured([sys.executable, "structured.py"], url)


def test_zod_schemas(url: str):
    assert check_structured([find_node(), "structured.mjs", "openai"], url)
