"""The requests of clients as they arrive at the Worker, and the bindings of a request that are watched."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from simulator.engine.scope import SCOPE
from simulator.platform.app import Env
from simulator.platform.binding_port import Pending
from simulator.platform.d1 import D1Binding, PreparedStatement
from simulator.platform.isolate import SimulatedInvocation
from simulator.platform.sdk import JsRequest, SdkRequest
from simulator.platform.streams import IdentityTransformStream
from src.kernel.api.base.messages import Reply

BOUNDARY = "simulated-boundary"


class ClientRequest:
    """A client's HTTP request.

    `body` is called at each arrival of the request, so that repeated requests can differ. An `upload` has the pieces of
    a form in place of `body`.
    """

    def __init__(
        self,
        method: str,
        path: str,
        body: Callable[[], dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        upload: Sequence[bytes] = (),
    ) -> None:
        self.headers = dict(headers or {})
        if upload:
            self.headers["content-type"] = f"multipart/form-data; boundary={BOUNDARY}"
        self.method = method
        self.url = f"http://onceover{path}"
        self.body = body
        self.upload = upload


@dataclass(frozen=True, slots=True)
class StreamedReply(Reply):
    """An answer that comes in parts, which the client reads from `stream`."""

    stream: IdentityTransformStream = field(default_factory=IdentityTransformStream)


class Arrival:
    """One arrival of a request. `body` is empty until the Worker has read the request's body.

    `ClientPromises.arrived` sets `retries` and `came_at`. If the limiter of requests is bound, `asked_at` is when the
    Worker called it (virtual seconds), `allowed` is what it answered in time, and `sent` has the statements of each D1
    call so far.
    """

    retries = 0
    came_at = 0.0
    asked_at: float | None = None
    allowed: bool | None = None

    def __init__(self, request: ClientRequest, watcher: "Watcher") -> None:
        self.method, self.url, self.headers = request.method, request.url, request.headers
        self.body: dict[str, Any] = {}
        self.sent: list[list[str]] = []
        self._make_body = request.body
        self._upload = request.upload
        self._watcher = watcher

    @property
    def calls(self) -> int:
        """The number of calls to bindings that the invocation has made."""
        invocation = SCOPE.get()
        assert isinstance(invocation, SimulatedInvocation)
        return invocation.calls

    def request(self) -> SdkRequest:
        """Return the request as the Worker receives it."""
        pieces = None if self._make_body is None else self._pieces(self._make_body)
        if self._upload:
            pieces = iter(self._upload)
        return SdkRequest(JsRequest(self.method, self.url, self.headers, pieces))

    def _pieces(self, make_body: Callable[[], dict[str, Any]]) -> Iterator[bytes]:
        raw = json.dumps(make_body()).encode()
        yield raw  # The stream of the request has its body in one piece.
        # If the Worker reads on, it has not refused the body for its size.
        self.body = json.loads(raw)
        self._watcher.read(self)


class Watcher(Protocol):
    """What watches requests as they arrive, and answers as the Worker gives them, even if an answer is lost later."""

    def arrived(self, arrival: Arrival) -> None:
        """Record the arrival of a request."""
        ...

    def read(self, arrival: Arrival) -> None:
        """Record that the Worker has read the body of a request."""
        ...

    def counting(self, arrival: Arrival) -> None:
        """Record that the Worker calls the limiter of requests."""
        ...

    def answered(self, arrival: Arrival, reply: Reply) -> None:
        """Judge an answer of the Worker."""
        ...


class WatchedRateLimiter:
    """The binding `RATE_LIMITER` for one request; it reports calls to the watcher."""

    def __init__(self, binding: Any, arrival: Arrival, watcher: Watcher) -> None:
        self._binding = binding
        self._arrival = arrival
        self._watcher = watcher

    async def limit(self, options: dict[str, str]) -> Mapping[str, bool]:
        """Pass the call to the limiter, and note the call and its answer."""
        self._watcher.counting(self._arrival)
        outcome: Mapping[str, bool] = await self._binding.limit(options)
        self._arrival.allowed = outcome["success"]
        return outcome


class WatchedDatabase(D1Binding):
    """The binding `DB` for one request; it notes the statements of each call."""

    def __init__(self, database: D1Binding, arrival: Arrival) -> None:
        super().__init__(database._server, database._port)
        self._sent = arrival.sent

    def send(self, label: str, statements: list[PreparedStatement], shape: Callable[[Any], Any]) -> Pending:
        """Note the statements of a call to D1, and send them as one call."""
        self._sent.append([statement.sql for statement in statements])
        return super().send(label, statements, shape)


def watched(env: Env, arrival: Arrival, watcher: Watcher) -> Env:
    """Return an isolate's `env` for one request: with watched limiter and database, if the limiter is bound."""
    if not env.has("RATE_LIMITER"):
        return env
    seen = copy.copy(env)
    vars(seen).update(
        RATE_LIMITER=WatchedRateLimiter(env.RATE_LIMITER, arrival, watcher), DB=WatchedDatabase(env.DB, arrival)
    )
    return seen
