"""A proxy that loses some answers: the server processes the request, but the client gets no answer."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import httpx

from tests.support.loopback import Quiet

NOT_FORWARDED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
COUNTS = "x-stainless-retry-count"
LOSSES = 0.1  # the share of the answers that `LosingProxy` loses


class Proxy(ThreadingHTTPServer):
    """A proxy on a free port, which forwards to `target` in threads of its own."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], target: str = "") -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.target = target
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no error of a connection, because the tests break connections on purpose."""


class LosingProxy(Proxy):
    """Loses a tenth of the answers. `strips`: the SDK's retry count."""

    def __init__(self, seed: int, *, strips: bool = False) -> None:
        super().__init__(_Handler)
        self.strips = strips
        self.lost = 0
        self.strange = 0  # The number of answers through the proxy that do not come from the Worker.
        self.repeated = 0  # The number of requests whose header says that the SDK repeats them.
        self._random = Random(f"{seed}/wire")

    def loses(self) -> bool:
        with self._lock:
            lost = self._random.random() < LOSSES
            self.lost += lost
            return lost


class _Handler(Quiet):
    protocol_version = "HTTP/1.1"
    server: LosingProxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        target = self.server.target
        self.server.repeated += self.headers.get(COUNTS, "0") != "0"
        dropped = NOT_FORWARDED | ({COUNTS} if self.server.strips else set())
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        self.close_connection = True
        if not target:
            return
        try:
            answer = httpx.request(self.command, target + self.path, headers=headers, content=body, timeout=60)
        except httpx.HTTPError:
            return
        if "x-request-id" not in answer.headers:
            self.server.strange += 1  # the Worker gives each answer an id, so a killed runtime sent this answer
            return
        if self.server.loses():
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in NOT_FORWARDED | {"content-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _forward  # noqa: N815 - names of http.server
