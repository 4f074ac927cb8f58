"""HTTP between JavaScript and Python: what requests leave behind, how often values cross over, and how bodies go."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from src.kernel.api.base.messages import BodyBroken, BodyTooLarge, CutOff, Reply
from src.kernel.calls.protocol import HttpConnectionLost, HttpReply, HttpReplyTooLarge, HttpTimeout
from src.platform.http_client import FetchClient
from src.platform.http_messages import IncomingRequest, outgoing
from tests.support.javascript import JsError, stand_in

HOUR = 3600.0


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
        self.answer: Callable[[Promise], None] = lambda promise: promise.resolve(self.response())
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
    browser.parts = [b"one ", b"two"]
    reply = asyncio.run(request())
    assert (reply.status, reply.headers, reply.body) == (200, {"content-type": "text/plain"}, b"one two")
    assert browser.aborts == 0
    assert browser.unsettled() == 0


def test_a_request_costs_two_promises_and_no_look_up(browser: Browser):
    async def scenario() -> None:
        client, js = FetchClient(), sys.modules["js"]
        assert isinstance(js, Globals)
        browser.headers = {"content-length": "3"}
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
    reply = asyncio.run(request())
    assert (reply.headers, reply.body, browser.reads) == (headers, b"one two", reads)
    assert browser.unsettled() == 0


@pytest.mark.parametrize("in_body", [None, {}, {"content-length": "9"}], ids=["before the headers", "a part", "whole"])
def test_a_server_that_hangs_is_aborted_and_waited_for(browser: Browser, in_body: dict[str, str] | None):
    if in_body is None:
        browser.answer = lambda promise: None
    else:
        browser.headers, browser.parts = in_body, [b"one", None]
    with pytest.raises(HttpTimeout, match="in time"):
        asyncio.run(request(0.01))
    assert browser.aborts == 1
    assert browser.unsettled() == 0
    assert browser.promises[-1].waits == 2  # the response and the abort each wait for the same promise


def test_a_cancelled_request_is_aborted_and_waited_for(browser: Browser):
    browser.answer = lambda promise: None

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
    assert asyncio.run(request()).body == b""


def test_a_reply_longer_than_it_says_is_not_taken(browser: Browser):
    browser.headers = {"content-length": "7"}
    browser.parts = [b"12345", b"67890"]
    with pytest.raises(HttpReplyTooLarge):
        asyncio.run(request(most=7))
    assert browser.unsettled() == 0


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


def received(monkeypatch: pytest.MonkeyPatch, js: Js) -> IncomingRequest:
    stand_in(monkeypatch, {"JSON": js, "Object": js})
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
    js = {"JSON": SimpleNamespace(parse=json.loads), "IdentityTransformStream": stream, "Response": stream}
    stand_in(monkeypatch, js, {"JsException": JsError, "to_js": lambda value: value})
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
    with pytest.raises(BodyBroken):
        read(received(monkeypatch, Js(headers, [b"abc"], broken=True)).read(5))


def test_a_client_that_leaves_at_the_end_of_a_broken_answer_breaks_nothing(monkeypatch: pytest.MonkeyPatch):
    """If the client has left a broken answer, the line feed that can no longer be written raises no error."""
    stream = Stream(gone_after=2)
    streamed(monkeypatch, stream, two_parts(whole=False))
    assert stream.end == "aborted"
