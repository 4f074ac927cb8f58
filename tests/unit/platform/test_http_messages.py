"""Requests and answers between JavaScript and Python: how often values cross over, and how bodies are read and sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from types import ModuleType
from typing import Any

import pytest

from src.kernel.api.base.messages import BodyBroken, BodyTooLarge, CutOff, Reply
from src.platform.http_messages import IncomingRequest, outgoing


class JsError(Exception):
    """The error that a rejected JavaScript promise raises in Python."""


class Js:
    """JavaScript's side of one request; `crossings` counts how often Python accesses it."""

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
        return self

    def fromEntries(self, headers: dict[str, str]) -> dict[str, str]:  # noqa: N802 - JavaScript's name
        self.crossings += 1
        return headers

    def stringify(self, value: object) -> str:
        self.crossings += 1
        return json.dumps(value)

    async def arrayBuffer(self) -> "Part":  # noqa: N802 - JavaScript's name
        self.crossings += 1
        if self._broken:
            raise JsError
        return Part(b"".join(self._parts))

    def getReader(self) -> "Js":  # noqa: N802 - JavaScript's name
        self.crossings += 1
        return self

    async def read(self) -> "Part":
        self.crossings += 1
        if self._broken:
            raise JsError
        return Part(self._parts.pop(0) if self._parts else None)

    async def cancel(self) -> None:
        self.cancelled = True


class Part:
    """A buffer."""

    def __init__(self, data: bytes | None) -> None:
        self.done = data is None
        self.value = self
        self._data = data or b""

    def to_bytes(self) -> bytes:
        return self._data


def received(monkeypatch: pytest.MonkeyPatch, js: Js) -> IncomingRequest:
    for name, members in (("js", {"JSON": js, "Object": js}), ("pyodide.ffi", {"JsException": JsError})):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(__import__("sys").modules, name, module)
    return IncomingRequest(js)  # type: ignore[arg-type]


def read(awaitable: Awaitable[bytes]) -> bytes:
    async def play() -> bytes:
        return await awaitable

    return asyncio.run(play())


@pytest.mark.parametrize("headers", [1, 40])
def test_a_request_crosses_over_six_times(monkeypatch: pytest.MonkeyPatch, headers: int):
    sent = {"content-length": "6"} | {f"x-{number}": "1" for number in range(headers)}
    js = Js(sent, [b"{", b"}    "])
    request = received(monkeypatch, js)
    assert request.headers == sent
    assert (request.method, request.url) == ("POST", "http://h/api/tasks")
    assert read(request.read(100)) == b"{}    "
    assert js.crossings == 6


@pytest.mark.parametrize("length", ["", "7", "x", "\u0663", "-1"])
def test_a_body_that_does_not_say_how_long_it_is_streams_in(monkeypatch: pytest.MonkeyPatch, length: str):
    js = Js({"content-length": length} if length else {}, [b"abc", b"def", b"ghi"])
    request = received(monkeypatch, js)
    with pytest.raises(BodyTooLarge):
        read(request.read(5))
    assert js.cancelled


def test_a_body_longer_than_it_says_is_too_large(monkeypatch: pytest.MonkeyPatch):
    """A body beyond the limit is refused, whatever length its header stated."""
    with pytest.raises(BodyTooLarge):
        read(received(monkeypatch, Js({"content-length": "3"}, [b"abcdef"])).read(5))


class Stream:
    """As in workerd, a write ends when the reader has taken the piece. `sent`: what the client got."""

    def __init__(self, gone_after: int | None = None) -> None:
        self.readable = self.writable = self
        self.sent: list[bytes] = []
        self.end = ""
        self._taken: bytes | None = None
        self._gone_after = gone_after

    def new(self, *_options: object) -> "Stream":
        return self

    def getWriter(self) -> "Stream":  # noqa: N802 - JavaScript's name
        return self

    async def write(self, piece: bytes) -> None:
        self._send()
        if len(self.sent) == self._gone_after:
            raise JsError
        self._taken = piece

    async def close(self) -> None:
        self._send()
        self.end = "closed"

    async def abort(self, _reason: str) -> None:
        self._taken = None
        self.end = "aborted"

    def _send(self) -> None:
        if self._taken is not None:
            self.sent.append(self._taken)
            self._taken = None


def streamed(monkeypatch: pytest.MonkeyPatch, stream: Stream, parts: AsyncGenerator[str]) -> None:
    modules: dict[str, dict[str, Any]] = {
        "js": {
            "JSON": type("JSON", (), {"parse": staticmethod(json.loads)}),
            "IdentityTransformStream": stream,
            "Response": stream,
        },
        "pyodide.ffi": {"JsException": JsError, "to_js": lambda value: value},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(__import__("sys").modules, name, module)
    work: list[Awaitable[None]] = []
    outgoing(Reply(200, parts=parts), work.append)

    async def play() -> None:
        await work[0]

    asyncio.run(play())


async def two_parts(*, whole: bool) -> AsyncGenerator[str]:
    yield "one"
    yield "the error"
    if not whole:
        raise CutOff


def test_the_last_part_arrives_before_the_connection_is_broken_off(monkeypatch: pytest.MonkeyPatch):
    stream = Stream()
    streamed(monkeypatch, stream, two_parts(whole=False))
    assert (stream.sent, stream.end) == ([b"one", b"the error"], "aborted")


def test_a_whole_answer_has_nothing_added(monkeypatch: pytest.MonkeyPatch):
    stream = Stream()
    streamed(monkeypatch, stream, two_parts(whole=True))
    assert (stream.sent, stream.end) == ([b"one", b"the error"], "closed")


@pytest.mark.parametrize("headers", [{}, {"content-length": "3"}])
def test_a_broken_body_says_so(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]):
    """The client has gone."""
    with pytest.raises(BodyBroken):
        read(received(monkeypatch, Js(headers, [b"abc"], broken=True)).read(5))


def test_a_client_that_leaves_at_the_end_of_a_broken_answer_breaks_nothing(monkeypatch: pytest.MonkeyPatch):
    """If the client has left a broken answer, the line feed that can no longer be written raises no error."""
    stream = Stream(gone_after=2)
    streamed(monkeypatch, stream, two_parts(whole=False))
    assert stream.end == "aborted"
