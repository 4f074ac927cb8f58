"""Tests OpenAI's unmodified SDKs for Python and JavaScript on the real runtime, with another base URL and key."""

import os
import sys
from collections.abc import Iterator

import pytest

from local.node import ROOT, find_node
from tests.clients.walking import HERE, WALKED, walk
from tests.support.client import variables
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key
from tests.support.programs import output_of
from tests.support.shell_blocks import blocks

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    state = tmp_path_factory.mktemp("state")
    with DevServer(state, *variables(WALKED)) as server:
        yield server.url, insert_key(state)


def test_openai_for_python(deployment: tuple[str, str]):
    """Each call (create, poll, list, cancel, delete) is made, and each error caused, once."""
    assert walk([sys.executable, HERE / "walk.py", *deployment]).startswith("3.")


def test_openai_for_javascript(deployment: tuple[str, str]):
    assert walk([find_node(), HERE / "walk.mjs", "openai", *deployment]).startswith("7.")


def test_the_programs_of_the_documents(deployment: tuple[str, str]):
    page = ROOT / "docs" / "openai.md"
    (python,), (javascript,), printed = blocks(page, "python"), blocks(page, "js"), blocks(page, "text")[-1]
    url, key = deployment
    environment = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": key}
    for command in ([sys.executable, "-c", python], [str(find_node()), "--input-type=module", "-e", javascript]):
        assert output_of(command, cwd=ROOT, env=environment) == printed
