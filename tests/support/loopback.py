"""An HTTP server on this machine, which is the base class of the tests' receivers and stand-ins, and reserved ports."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_reserved: list[socket.socket] = []


def reserved_port() -> int:
    """Return a port for a server that starts later. No other program gets it while this process runs.

    A bound socket keeps Linux from giving its port to a program that asks for any free one. Servers set SO_REUSEADDR,
    as this socket does, so the server can still listen there.
    """
    mark = socket.socket()
    mark.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mark.bind(("127.0.0.1", 0))
    _reserved.append(mark)
    return int(mark.getsockname()[1])


class Quiet(BaseHTTPRequestHandler):
    """A request handler that logs nothing."""

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


class Loopback:
    """Listens on a free port as soon as it is made, and answers requests in its own threads in its `with` block."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
