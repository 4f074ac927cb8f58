"""A proxy that breaks answers as its path says: `/whole/v1`, `/lost/v1` and `/cut3/v1` lead to the server's `/v1`.

`whole`: no answer is broken. `lost`: the server processes each request, but the first try of each request gets no
answer. `cutN`: the answer to a POST breaks off after its Nth event, without the end that HTTP demands.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.clients.losing_proxy import COUNTS, NOT_FORWARDED

FATES = ("whole", "lost", "cut3", "cut6", "cut9")
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class CuttingProxy(ThreadingHTTPServer):
    """Forwards to `target`. `broken` counts the broken answers by their kind (`lost`, `cut3` and so on)."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.broken = dict.fromkeys(FATES, 0)
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def breaks(self, fate: str) -> None:
        with self._lock:
            self.broken[fate] += 1

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CuttingProxy

    def do_GET(self) -> None:
        """Forward a request, and break its answer if its path says so."""
        self.close_connection = True
        _, fate, path = self.path.split("/", 2)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_FORWARDED}
        url = f"{self.server.target}/{path}"
        with httpx.stream(self.command, url, headers=headers, content=body, timeout=60) as answer:
            if fate == "lost" and self.headers.get(COUNTS, "0") == "0":
                self.server.breaks(fate)
                return
            self._relay(answer, fate, int(fate[3:]) if fate.startswith("cut") and self.command == "POST" else None)

    def _relay(self, answer: httpx.Response, fate: str, events: int | None) -> None:
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in NOT_FORWARDED:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for at, part in enumerate(_events(answer)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if at + 1 == events:
                self.server.breaks(fate)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                return
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


def _events(answer: httpx.Response) -> Iterator[bytes]:
    rest = b""
    for came in answer.iter_raw():
        *parts, rest = (rest + came).split(b"\n\n")
        yield from (part + b"\n\n" for part in parts if not part.startswith(b":"))
    if rest:
        yield rest
