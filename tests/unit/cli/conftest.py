"""The command line in the tests' process, against a scripted server."""

from collections.abc import Callable, Iterator

import pytest

from onceover_cli.main import main
from tests.support.fake_api import FakeApi


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.delenv("ONCEOVER_KEY", raising=False)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with FakeApi() as server:
        monkeypatch.setenv("ONCEOVER_URL", server.url)
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def go(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return go
