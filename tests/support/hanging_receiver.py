"""A receiver of webhooks on this machine that takes messages and never answers, or never ends its answer."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Literal, Self


class HangingReceiver:
    """Accepts messages at `/TENANT/NAME`, and holds each until its sender gives up.

    With `hangs_in="body"` the receiver sends the head of an answer 200 and a part of its body before it hangs. By
    tenant, `came` counts the messages that have come, `held` those that are held now, and `most` the most that were
    held at a time.
    """

    def __init__(self, hangs_in: Literal["answer", "body"] = "answer") -> None:
        self.came: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.url = ""
        self._hangs_in = hangs_in
        self._close: Callable[[], object] = lambda: None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._close = lambda: loop.call_soon_threadsafe(ended.set)
        server = await asyncio.start_server(self._hold, "127.0.0.1", 0, backlog=1_000)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await ended.wait()
        server.close()  # `asyncio.run` ends the connections that are held

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            tenant = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("/")[1]
            self.came[tenant] += 1
            self.held[tenant] += 1
            self.most[tenant] = max(self.most[tenant], self.held[tenant])
            try:
                if self._hangs_in == "body":
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nand so on")
                while await reader.read(65_536):
                    pass
            finally:
                self.held[tenant] -= 1

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *failure: object) -> None:
        self._close()
        self._thread.join(5)
