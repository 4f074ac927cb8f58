"""Fixtures that start the conformance Worker once for all cases."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from simulator.platform.sqlite_database import Template
from tests.conformance.project import make_template, write_project
from tests.support.dev_server import DevServer

type Run = Callable[[str], str]


@pytest.fixture(scope="module")
def in_workerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("conformance")
    with (
        DevServer(folder / "state", project=write_project(folder / "project")) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield lambda name: client.get(f"/run/{name}").raise_for_status().text


@pytest.fixture(scope="module")
def template() -> Template:
    return make_template()
