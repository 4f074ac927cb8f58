"""A proxy that loses some answers: the server processes the request, but the client gets no answer."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import httpx

NOT_FORWARDED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
COUNTS = "x-stainless-retry-count"


class LosingProxy(ThreadingHTTPServer):
    """Forwards to `target`, and loses a share `losses` of the answers. `strips`: the SDK's retry count."""

    daemon_threads = True

    def __init__(self, seed: int, losses: float = 0.1, *, strips: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = ""
        self.strips = strips
        self.lost = 0
        self.strange = 0  # The number of answers through the proxy that do not come from the Worker.
        self.repeated = 0  # The number of requests whose header says that the SDK repeats them.
        self._losses = losses
        self._random = Random(f"{seed}/wire")
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def loses(self) -> bool:
        with self._lock:
            lost = self._random.random() < self._losses
            self.lost += lost
            return lost

    def handle_error(self, request: object, client_address: object) -> None:
        """Print no error of a connection, because the tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LosingProxy

    def do_GET(self) -> None:
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

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Print nothing."""
