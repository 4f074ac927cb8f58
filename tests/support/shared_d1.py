"""A local D1 whose callers wait for each other: all calls pass through one lock, with a service time and faults.

Miniflare's own D1 asks a server in the test's process before it runs a call, and waits for the answer. In this way, the
calls of all invocations of the Worker wait in one queue, in order of arrival. If a caller gives up, its call stays in
the queue: the database still serves the call, and the call's writes take effect.
"""

import json
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from simulator.campaign.subject.row_changes import UNDER_CLAIM
from src.kernel.store import work_statements
from tests.support.loopback import Loopback, Quiet
from tests.support.miniflare_d1 import write_hook

_PLACE = "let queries = D1QueriesSchema.parse(await req.json());"
# A `lost` call is answered with an error at once, and takes effect later or never. A `silent` call takes effect at once
# or never, and is never answered.
_ASK = """
    const asked = await fetch("%s", { method: "POST", body: JSON.stringify([queries].flat()) });
    const fate = await asked.json();
    const land = () => { try { this.#txn([queries].flat(), "NONE"); } catch (error) { console.error(String(error)); } };
    if (fate.kind === "lost") {
      if (fate.landsMs !== null) setTimeout(land, fate.landsMs);
      throw new D1Error(new Error("Network connection lost."));
    }
    if (fate.kind === "silent") {
      if (fate.landsMs !== null) land();
      await scheduler.wait(300000);
    }
"""
_OF_A_WORKER = {
    getattr(work_statements, name).sql: getattr(work_statements, name).parameters for name in (*UNDER_CLAIM, "CLAIM")
}
_WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class Fate:
    """A call's fate: `served`, `lost`, or `silent`; it lands after `lands_ms`, None for never."""

    kind: str = "served"
    lands_ms: int | None = 0


SERVED = Fate()


@dataclass(slots=True)
class Account:
    """How many calls of workers wrote to one task, and how many seconds lay between the first and the last of them."""

    writes: int = 0
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Waiting:
    at: float
    served: threading.Event


class SharedD1(Loopback):
    """A local D1 that serves one call at a time.

    `others` is how many calls of other Workers are served before each of the Worker's calls.

    `decide` returns what happens to a call; its argument says whether the call is a write. `service_seconds`, `others`
    and `decide` may be changed while calls are in flight.
    """

    def __init__(self) -> None:
        self.service_seconds = 0.0
        self.others = 0
        self.decide: Callable[[bool], Fate] = lambda _writes: SERVED
        self.fates: Counter[str] = Counter()
        self.accounts: dict[str, Account] = defaultdict(Account)
        self._lands_at = 0.0
        self._line: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._moves = threading.Event()
        self._moves.set()
        self._lock = threading.Lock()
        self._waiting = 0
        self._serving = threading.Thread(target=self._serve, daemon=True)
        super().__init__(self._handler())

    def options(self, folder: Path) -> str:
        return write_hook(folder, _PLACE, _ASK % f"{self.url}/")

    def __enter__(self) -> Self:
        self._serving.start()
        return super().__enter__()

    def __exit__(self, *failure: object) -> None:
        self.resume()
        self._line.put(None)
        super().__exit__(*failure)
        self._serving.join()

    def stall(self) -> None:
        self._moves.clear()

    def resume(self) -> None:
        self._moves.set()

    @property
    def landing(self) -> bool:
        return time.monotonic() < self._lands_at

    @property
    def waiting(self) -> int:
        return self._waiting

    def _serve(self) -> None:
        while (call := self._line.get()) is not None:
            self._moves.wait()
            ready = max(time.monotonic(), call.at + self.others * self.service_seconds)
            time.sleep(max(0.0, ready + self.service_seconds - time.monotonic()))
            call.served.set()

    def _passed(self, statements: Sequence[dict[str, Any]]) -> Fate:
        call = _Waiting(time.monotonic(), threading.Event())
        with self._lock:
            self._book(statements)
            self._waiting += 1
            self._line.put(call)
        call.served.wait()
        with self._lock:
            self._waiting -= 1
            fate = self.decide(any(word in one["sql"] for one in statements for word in _WRITES))
            self.fates[fate.kind] += 1
            self._lands_at = max(self._lands_at, time.monotonic() + (fate.lands_ms or 0) / 1000)
        return fate

    def _book(self, statements: Sequence[dict[str, Any]]) -> None:
        names = [
            dict(zip(_OF_A_WORKER.get(one["sql"], ()), one.get("params") or (), strict=False)) for one in statements
        ]
        for key in {named["task_key"] for named in names if named}:
            account = self.accounts[key]
            account.writes += 1
            account.seconds = time.monotonic() - account.since

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        passed = self._passed

        class Handler(Quiet):
            """When the turn of a call comes, answers Miniflare's question about it with what happens to the call."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - a name of http.server
                fate = passed(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                body = json.dumps({"kind": fate.kind, "landsMs": fate.lands_ms}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler
