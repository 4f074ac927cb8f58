"""Speaks HTTP/1.1 with keep-alive over a bare asyncio protocol, as far as a fast test server needs HTTP."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object, empty for anything else, so that a bad call counts."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        return document if isinstance(document, dict) else {}


class Connection(asyncio.Protocol):
    """A client's connection, whose requests are answered one after the other."""

    def __init__(self, answer: "Answer", connections: "set[Connection]") -> None:
        self._answer = answer
        self._connections = connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self._busy: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if not self._gone.done():
            self._gone.set_result(None)

    def eof_received(self) -> bool:
        return False  # Close the connection after the client has closed its side of the connection.

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def send(self, code: int, body: bytes, headers: Iterable[tuple[str, str]] = (), *, cut: bool = False) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        lines = [f"HTTP/1.1 {code} Test", "content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        self._transport.write(head + (body[: len(body) // 2] if cut else body))

    async def unless_gone(self, work: Awaitable[None]) -> bool:
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if task.cancelled():
            return False
        task.result()
        return not self._gone.done() and self._transport is not None and not self._transport.is_closing()

    def _next(self) -> None:
        if self._busy is not None or self._gone.done():
            return
        try:
            request = self._take()
        except ValueError:
            self.send(400, b"{}")
            self.close()
            return
        if request is not None:
            self._busy = asyncio.ensure_future(self._answer(self, request))
            self._busy.add_done_callback(self._after)

    def _after(self, task: "asyncio.Task[None]") -> None:
        self._busy = None
        if not task.cancelled() and task.exception() is not None:
            self.close()
        else:
            self._next()

    def _take(self) -> Request | None:
        head, separator, _ = bytes(self._buffer).partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *rest = head.decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if "transfer-encoding" in headers:
            raise ValueError("bodies must state their length")
        end = len(head) + 4 + int(headers.get("content-length", "0"))
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[len(head) + 4 : end])
        del self._buffer[:end]
        return Request(method, path.partition("?")[0], headers, body)


Answer = Callable[[Connection, Request], Coroutine[Any, Any, None]]
