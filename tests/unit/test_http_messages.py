"""A request between JavaScript and Python: how often it crosses over, and its body. JavaScript is played."""

import asyncio
import json
from collections.abc import Awaitable
from types import ModuleType
from typing import Any

import pytest

from src.http.messages import BodyBroken, BodyTooLarge
from src.platform.http_messages import IncomingRequest


class JsError(Exception):
    """What a rejected promise raises in Python."""


class Js:
    """JavaScript's side of one request. `crossings` counts what Python asks of it."""

    def __init__(self, headers: dict[str, str], parts: list[bytes], *, broken: bool = False) -> None:
        self._members = {"method": "POST", "url": "http://h/api/tasks", "headers": headers, "body": self}
        self._parts = list(parts)
        self._broken = broken
        self.crossings = 0
        self.cancelled = False

    def __getattr__(self, name: str) -> Any:
        self.crossings += 1
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def js_object(self) -> "Js":
        """The SDK's request has it."""
        return self

    def fromEntries(self, headers: dict[str, str]) -> dict[str, str]:  # noqa: N802 - JavaScript's name
        """Be `Object`."""
        self.crossings += 1
        return headers

    def stringify(self, value: object) -> str:
        """Be `JSON`."""
        self.crossings += 1
        return json.dumps(value)

    async def arrayBuffer(self) -> "Part":  # noqa: N802 - JavaScript's name
        """Give the whole body."""
        self.crossings += 1
        if self._broken:
            raise JsError
        return Part(b"".join(self._parts))

    def getReader(self) -> "Js":  # noqa: N802 - JavaScript's name
        """Be a reader."""
        self.crossings += 1
        return self

    async def read(self) -> "Part":
        """Give the next part."""
        self.crossings += 1
        if self._broken:
            raise JsError
        return Part(self._parts.pop(0) if self._parts else None)

    async def cancel(self) -> None:
        """Stop."""
        self.cancelled = True


class Part:
    """A buffer."""

    def __init__(self, data: bytes | None) -> None:
        self.done = data is None
        self.value = self
        self._data = data or b""

    def to_bytes(self) -> bytes:
        """Copy it."""
        return self._data


def received(monkeypatch: pytest.MonkeyPatch, js: Js) -> IncomingRequest:
    """Bring a request over."""
    for name, members in (("js", {"JSON": js, "Object": js}), ("pyodide.ffi", {"JsException": JsError})):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(__import__("sys").modules, name, module)
    return IncomingRequest(js)  # type: ignore[arg-type]


def read(awaitable: Awaitable[bytes]) -> bytes:
    """Wait for a body."""

    async def play() -> bytes:
        return await awaitable

    return asyncio.run(play())


@pytest.mark.parametrize("headers", [1, 40])
def test_a_request_crosses_over_six_times(monkeypatch: pytest.MonkeyPatch, headers: int):
    """Method, URL, headers (twice to make JSON of them), and the body: however many headers there are.

    Each header took a crossing or more before, and the body three awaits.
    """
    sent = {"content-length": "6"} | {f"x-{number}": "1" for number in range(headers)}
    js = Js(sent, [b"{", b"}    "])
    request = received(monkeypatch, js)
    assert request.headers == sent
    assert (request.method, request.url) == ("POST", "http://h/api/tasks")
    assert read(request.read(100)) == b"{}    "
    assert js.crossings == 6


@pytest.mark.parametrize("length", ["", "7", "x", "\u0663", "-1"])
def test_a_body_that_does_not_say_how_long_it_is_streams_in(monkeypatch: pytest.MonkeyPatch, length: str):
    """And one that says that it is too long, which nobody reads further than it may go."""
    js = Js({"content-length": length} if length else {}, [b"abc", b"def", b"ghi"])
    request = received(monkeypatch, js)
    with pytest.raises(BodyTooLarge):
        read(request.read(5))
    assert js.cancelled


def test_a_body_longer_than_it_says_is_too_large(monkeypatch: pytest.MonkeyPatch):
    """Whatever the length said."""
    with pytest.raises(BodyTooLarge):
        read(received(monkeypatch, Js({"content-length": "3"}, [b"abcdef"])).read(5))


@pytest.mark.parametrize("headers", [{}, {"content-length": "3"}])
def test_a_broken_body_says_so(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]):
    """The client went away."""
    with pytest.raises(BodyBroken):
        read(received(monkeypatch, Js(headers, [b"abc"], broken=True)).read(5))
