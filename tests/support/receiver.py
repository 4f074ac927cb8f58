"""A receiver of webhooks on this machine; a test decides its answers on each path."""

import socket
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from tests.support.loopback import Loopback, Quiet


@dataclass(frozen=True, slots=True)
class Received:
    """One webhook message that the receiver got: path, headers with names in lower case, body."""

    path: str
    headers: Mapping[str, str]
    body: str


class Receiver(Loopback):
    """The receiver. `answers`: a path's statuses or "close"; the last one repeats. Other paths get 204."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, list[int | str]] = {}
        receiver, lock = self, threading.Lock()

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - a name of http.server
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                with lock:
                    receiver.received.append(Received(self.path, headers, body))
                    left = receiver.answers.get(self.path, [204])
                    answer = left.pop(0) if len(left) > 1 else left[0]
                if answer == "close":
                    self.close_connection = True
                    return
                self.send_response(int(answer))
                if 300 <= int(answer) < 400:
                    self.send_header("location", f"{receiver.url}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

        super().__init__(Handler)

    def at(self, path: str) -> list[Received]:
        return [message for message in self.received if message.path == path]


def listens(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
    return False
