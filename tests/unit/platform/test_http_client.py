"""The HTTP client over `fetch`: which promises and timers are left when a request ends, early or not."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Generator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from src.kernel.calls.protocol import HttpConnectionLost, HttpReply, HttpReplyTooLarge, HttpTimeout
from src.platform.http_client import FetchClient

HOUR = 3600.0


class JsError(Exception):
    """The error that a rejected JavaScript promise raises in Python."""


class Promise:
    """A JavaScript promise, which is not cancelled when the Python code that awaits it is."""

    def __init__(self) -> None:
        self.settled = False
        self.waits = 0
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def resolve(self, value: Any) -> None:
        if not self._future.done():
            self.settled = True
            self._future.set_result(value)

    def reject(self) -> None:
        if not self._future.done():
            self.settled = True
            self._future.set_exception(JsError("AbortError"))
            self._future.exception()  # JavaScript ignores a rejected promise that no code awaits

    def __await__(self) -> Generator[Any, None, Any]:
        self.waits += 1
        return asyncio.shield(self._future).__await__()


class Part:
    def __init__(self, data: bytes | None) -> None:
        self.done = data is None
        self.value = self
        self._data = data or b""
        self.byteLength = len(self._data)

    def to_bytes(self) -> bytes:
        return self._data


class Browser:
    """JavaScript's globals, and a record of what happened to them."""

    def __init__(self) -> None:
        self.answer: Callable[[Promise], None] = lambda promise: None
        self.parts: list[bytes | None] = []  # None: a read of the body does not end before the request is aborted.
        self.stubborn = False  # True means that an abort has no effect.
        self.aborts = 0
        self.promises: list[Promise] = []
        self.headers = {"content-type": "text/plain"}
        self.reads = 0

    def fetch(self, url: str, options: Any) -> Promise:
        assert options.signal is self
        assert (options.method, options.headers, options.body) == ("POST", {"a": "b"}, "x")
        promise = self.promise()
        self.answer(promise)
        return promise

    def promise(self) -> Promise:
        made = Promise()
        self.promises.append(made)
        return made

    def controller(self) -> Any:
        return SimpleNamespace(signal=self, abort=self.abort)

    def abort(self) -> None:
        self.aborts += 1
        for promise in self.promises:
            if not self.stubborn:
                promise.reject()

    def response(self) -> Any:
        body = SimpleNamespace(getReader=lambda: SimpleNamespace(read=self.read)) if self.parts else None
        return SimpleNamespace(status=200, headers=self.headers, body=body, arrayBuffer=self.whole)

    def whole(self) -> Promise:
        self.reads += 1
        promise = self.promise()
        parts, self.parts = self.parts, []
        if None not in parts:
            promise.resolve(Part(b"".join(part or b"" for part in parts)))
        return promise

    def read(self) -> Promise:
        self.reads += 1
        promise = self.promise()
        if not self.parts:
            promise.resolve(Part(None))
        elif (data := self.parts.pop(0)) is not None:
            promise.resolve(Part(data))
        return promise

    def unsettled(self) -> int:
        return sum(not promise.settled for promise in self.promises)


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


class Globals(ModuleType):
    """JavaScript's globals, which record each access."""

    def __init__(self, **members: object) -> None:
        super().__init__("js")
        self.members = members
        self.looked_up: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.looked_up.append(name)
        return self.members[name]


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    made = Browser()
    js = Globals(
        AbortController=SimpleNamespace(new=made.controller),
        JSON=SimpleNamespace(stringify=json.dumps, parse=lambda text: SimpleNamespace(**json.loads(text))),
        Object=SimpleNamespace(fromEntries=dict),
        fetch=made.fetch,
    )
    ffi = module("pyodide.ffi", JsException=JsError)
    for item in (js, module("pyodide"), ffi):
        monkeypatch.setitem(sys.modules, item.__name__, item)
    return made


def request(
    seconds: float | None = HOUR, most: int = 100, client: FetchClient | None = None
) -> Coroutine[Any, Any, HttpReply]:
    return (client or FetchClient()).request(
        "POST", "http://model/", headers={"a": "b"}, body="x", timeout_seconds=seconds, max_reply_bytes=most
    )


def test_a_whole_reply_leaves_nothing_behind(browser: Browser):
    """After a complete reply every promise has settled, and nothing was aborted."""
    browser.parts = [b"one ", b"two"]
    browser.answer = lambda promise: promise.resolve(browser.response())
    reply = asyncio.run(request())
    assert (reply.status, reply.headers, reply.body) == (200, {"content-type": "text/plain"}, b"one two")
    assert browser.aborts == 0
    assert browser.unsettled() == 0


def test_a_request_costs_two_promises_and_no_look_up(browser: Browser):
    async def scenario() -> None:
        client, js = FetchClient(), sys.modules["js"]
        assert isinstance(js, Globals)
        browser.headers = {"content-length": "3"}
        browser.answer = lambda promise: promise.resolve(browser.response())
        for _ in range(3):
            browser.parts, browser.promises = [b"one"], []
            assert (await request(None, client=client)).body == b"one"
            assert len(browser.promises) == 2
        assert sorted(js.looked_up) == ["AbortController", "JSON", "JSON", "Object", "fetch"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "reads"),
    [
        ({"content-length": "7"}, 1),
        ({"content-length": "7", "content-encoding": "gzip"}, 3),
        ({"content-length": "7", "transfer-encoding": "chunked"}, 3),
        ({"content-length": "1000"}, 3),
        ({"content-length": "-7"}, 3),
        ({"content-length": "\u0667"}, 3),
        ({}, 3),
    ],
)
def test_a_reply_that_says_that_it_is_short_is_read_at_once(browser: Browser, headers: dict[str, str], reads: int):
    """A length in the header is believed; else, as compressed, the reply is read by parts."""
    browser.headers = headers
    browser.parts = [b"one ", b"two"]
    browser.answer = lambda promise: promise.resolve(browser.response())
    reply = asyncio.run(request())
    assert (reply.headers, reply.body, browser.reads) == (headers, b"one two", reads)
    assert browser.unsettled() == 0


@pytest.mark.parametrize("in_body", [None, {}, {"content-length": "9"}], ids=["before the headers", "a part", "whole"])
def test_a_server_that_hangs_is_aborted_and_waited_for(browser: Browser, in_body: dict[str, str] | None):
    """After its deadline a request is aborted once, and its promise settles before the caller goes on."""
    if in_body is not None:
        browser.headers = in_body
        browser.parts = [b"one", None]
        browser.answer = lambda promise: promise.resolve(browser.response())
    with pytest.raises(HttpTimeout, match="in time"):
        asyncio.run(request(0.01))
    assert browser.aborts == 1
    assert browser.unsettled() == 0
    assert browser.promises[-1].waits == 2  # the response and the abort each wait for the same promise


def test_a_cancelled_request_is_aborted_and_waited_for(browser: Browser):
    async def scenario() -> None:
        task = asyncio.ensure_future(request())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(scenario())
    assert browser.aborts == 1
    assert browser.unsettled() == 0


def test_a_reply_that_is_too_large_is_aborted(browser: Browser):
    browser.parts = [b"12345", b"67890"]
    browser.answer = lambda promise: promise.resolve(browser.response())
    with pytest.raises(HttpReplyTooLarge):
        asyncio.run(request(most=7))
    assert browser.aborts == 1
    assert browser.unsettled() == 0


def test_a_lost_connection_is_no_timeout(browser: Browser):
    browser.answer = Promise.reject
    with pytest.raises(HttpConnectionLost):
        asyncio.run(request())
    assert browser.unsettled() == 0


def test_a_reply_without_a_body_is_whole(browser: Browser):
    """A response with a null body, as for HEAD or 204, is read as an empty body."""
    browser.answer = lambda promise: promise.resolve(browser.response())
    assert asyncio.run(request()).body == b""


def test_a_reply_longer_than_it_says_is_not_taken(browser: Browser):
    browser.headers = {"content-length": "7"}
    browser.parts = [b"12345", b"67890"]
    browser.answer = lambda promise: promise.resolve(browser.response())
    with pytest.raises(HttpReplyTooLarge):
        asyncio.run(request(most=7))
    assert browser.unsettled() == 0
