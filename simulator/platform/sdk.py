"""Stand-ins for modules that exist only inside the Workers runtime, so that `src.platform` and `src.entry` run here.

Importing this module registers `workers`, `js` and `pyodide.ffi` for the process. Import it before `src.platform` or
`src.entry`. The stand-ins have only the names that those two import. Nothing else can provide these modules outside the
runtime.

`src.platform` gets its bindings, and its isolate's runtime with its clock and randomness (`Surroundings`), as
arguments. So the only object of JavaScript that it needs is an arriving request.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from simulator.platform.binding_port import JsError
from simulator.platform.streams import IdentityTransformStream

STATUSES_WITHOUT_BODY = (204, 304)


class Entrypoint:
    """The base of `WorkerEntrypoint` and `DurableObject`.

    Arguments of the handlers of such a class need no wrappers of the SDK.
    """

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env


class WorkerEntrypoint(Entrypoint):
    """The base class of the Worker."""


class DurableObject(Entrypoint):
    """The base class of objects."""


class StreamPart:
    """The result of a read of a stream, which is also its own `value`."""

    def __init__(self, piece: bytes | None) -> None:
        self.done = piece is None
        self.value = self
        self._piece = piece

    def to_bytes(self) -> bytes:
        """Copy the bytes."""
        assert self._piece is not None, "read after the end"
        return self._piece


class BodyStream:
    """A body that arrives in pieces, and its reader. Each piece is made when it is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def getReader(self) -> "BodyStream":  # noqa: N802 - the platform's name
        """Return the reader."""
        return self

    async def read(self) -> StreamPart:
        """Return the next piece, or the end."""
        return StreamPart(next(self._pieces, None))

    async def cancel(self) -> None:
        """Stop reading."""
        self._pieces = iter(())

    async def whole(self) -> bytes:
        """Read the whole body."""
        return b"".join(self._pieces)


class Object:
    """JavaScript's `Object`. In this stand-in an object of JavaScript is a dictionary."""

    fromEntries = dict  # noqa: N815 - the platform's name


class JSON:
    """JavaScript's `JSON`."""

    stringify = staticmethod(json.dumps)
    parse = staticmethod(json.loads)


class JsRequest:
    """JavaScript's `Request`. `pieces` is None for a request without a body."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], pieces: Iterator[bytes] | None) -> None:
        self.method = method
        self.url = url
        self.headers = [(name.lower(), value) for name, value in headers.items()]
        self.body = None if pieces is None else BodyStream(pieces)

    async def arrayBuffer(self) -> StreamPart:  # noqa: N802 - the platform's name
        """Read the whole body."""
        return StreamPart(b"" if self.body is None else await self.body.whole())


class SdkRequest:
    """The SDK's request, around JavaScript's."""

    def __init__(self, js_object: JsRequest) -> None:
        self.js_object = js_object


class Resolvers:
    """A promise, and the function that fulfils it."""

    def __init__(self) -> None:
        self.promise: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(self) -> None:
        """Fulfil the promise."""
        if not self.promise.done():
            self.promise.set_result(None)


class Promise:
    """JavaScript's `Promise`."""

    withResolvers = Resolvers  # noqa: N815 - the platform's name


class Response:
    """JavaScript's `Response`. A body is refused where HTTP allows none, as on the platform."""

    def __init__(self, body: str | IdentityTransformStream | None, status: int, headers: dict[str, str]) -> None:
        if body is not None and status in STATUSES_WITHOUT_BODY:
            raise TypeError("Response with null body status cannot have body")
        self.status = status
        self.headers = headers
        self.body = body

    @staticmethod
    def new(body: str | IdentityTransformStream | None, options: dict[str, Any]) -> "Response":
        """Make one."""
        return Response(body, **options)

    async def text(self) -> str:
        """Read the body."""
        assert not isinstance(self.body, IdentityTransformStream), "its client reads it"
        return self.body or ""


def _register(name: str, members: Mapping[str, Any]) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


_register(
    "workers",
    {"DurableObject": DurableObject, "WorkerEntrypoint": WorkerEntrypoint},
)
_register(
    "js",
    {
        "IdentityTransformStream": IdentityTransformStream,
        "JSON": JSON,
        "Object": Object,
        "Promise": Promise,
        "Response": Response,
    },
)
_register("pyodide", {})
_register("pyodide.ffi", {"JsException": JsError, "to_js": lambda value: value})
