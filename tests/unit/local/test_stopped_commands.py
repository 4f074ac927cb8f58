"""Ctrl-C and Ctrl-D in `make deploy`, `make secrets` and `make key` print no traceback, but what to do next."""

from collections.abc import Callable

import pytest

from local import deployment, key


def stop(error: type[BaseException]) -> Callable[..., int]:
    def stopping(*_arguments: object, **_options: object) -> int:
        raise error

    return stopping


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
@pytest.mark.parametrize("command", ["deploy", "secrets", "key"])
def test_a_command_that_is_stopped_says_how_to_go_on(
    command: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that Ctrl-C stops ends with status 130, as shells expect, and says how to go on."""
    if command == "key":
        monkeypatch.setattr(key, "write", stop(error))
        status = key.main(["--remote"])
    else:
        monkeypatch.setitem(deployment._COMMANDS, command, stop(error))
        status = deployment.main([command])
    assert status == 130
    assert "Stopped. Run the same command again to continue." in capsys.readouterr().err
