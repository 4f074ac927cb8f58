"""A proxy that breaks answers as its path says: `/whole/v1`, `/lost/v1` and `/cut3/v1` lead to the server's `/v1`.

`whole`: no answer is broken. `lost`: the server processes each request, but the first try of each request gets no
answer. `cutN`: the answer to a POST breaks off after its Nth event, without the end that HTTP demands.
"""

import socket
import struct
from collections.abc import Iterator

import httpx

from tests.clients.losing_proxy import COUNTS, NOT_FORWARDED, Proxy
from tests.support.loopback import Quiet

FATES = ("whole", "lost", "cut3", "cut6", "cut9")
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class CuttingProxy(Proxy):
    """A proxy that counts in `broken` the broken answers by their kind (`lost`, `cut3` and so on)."""

    def __init__(self, target: str) -> None:
        super().__init__(_Handler, target)
        self.broken = dict.fromkeys(FATES, 0)

    def breaks(self, fate: str) -> None:
        with self._lock:
            self.broken[fate] += 1


class _Handler(Quiet):
    protocol_version = "HTTP/1.1"
    server: CuttingProxy

    def _forward(self) -> None:
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

    do_GET = do_POST = _forward  # noqa: N815 - names of http.server


def _events(answer: httpx.Response) -> Iterator[bytes]:
    rest = b""
    for came in answer.iter_raw():
        *parts, rest = (rest + came).split(b"\n\n")
        yield from (part + b"\n\n" for part in parts if not part.startswith(b":"))
    if rest:
        yield rest
