"""A receiver of webhooks on this machine, which checks their signatures (Standard Webhooks)."""

import base64
import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import SplitResult


class Receiver(ThreadingHTTPServer):
    """Listens at an address of this machine, and notes of each message whether it is signed with the secret."""

    daemon_threads = True

    def __init__(self, at: SplitResult, secret: str) -> None:
        super().__init__((at.hostname or "", at.port or 80), _Handler)
        self.secret = base64.b64decode(secret.removeprefix("whsec_"))
        self.received: list[bool] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        signed = f"{self.headers.get('webhook-id')}.{self.headers.get('webhook-timestamp')}.".encode() + body
        wanted = f"v1,{base64.b64encode(hmac.digest(self.server.secret, signed, 'sha256')).decode()}"
        self.server.received.append(wanted in str(self.headers.get("webhook-signature", "")).split(" "))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of http.server
        """Print nothing."""
