"""Stand-ins for modules of the Workers runtime, so that `src.platform` and `src.entry` can run in the simulator.

Importing this module registers `workers`, `js` and `pyodide.ffi` for the process. Import this module before
`src.platform` and `src.entry`. The stand-ins have only the names that `src.platform` and `src.entry` import. The real
modules exist only inside the Workers runtime.

`src.platform` gets its bindings and its isolate's `Surroundings` (runtime, clock, randomness) as arguments, so most
objects of JavaScript need no stand-in.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from simulator.platform.binding_port import JsError
from simulator.platform.streams import FixedLengthStream, IdentityTransformStream

STATUSES_WITHOUT_BODY = (204, 304)


class Entrypoint:
    """The base of `WorkerEntrypoint` and `DurableObject`, without the SDK's wrappers around handlers' arguments."""

    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env


class WorkerEntrypoint(Entrypoint):
    """A stand-in for the base class of a Worker."""


class DurableObject(Entrypoint):
    """A stand-in for the base class of Durable Objects."""


class StreamPart:
    """The result of reading a stream once. A stream part is also its own `value`."""

    def __init__(self, piece: bytes | None) -> None:
        self.done = piece is None
        self.value = self
        self.buffer = self  # A stand-in for the memory of the bytes.
        self._piece = piece

    def to_bytes(self) -> bytes:
        """Return the bytes that were read."""
        assert self._piece is not None, "read after the end"
        return self._piece


class BodyStream:
    """A request's body that arrives in pieces, and the body's reader.

    Each piece of the body is made when it is read.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def getReader(self, _options: object = None) -> "BodyStream":  # noqa: N802 - the platform's name
        """Return the reader of the body."""
        return self

    async def read(self) -> StreamPart:
        """Return the next piece of the body, or the end."""
        return StreamPart(next(self._pieces, None))

    async def readAtLeast(self, _count: int, _place: object) -> StreamPart:  # noqa: N802 - the platform's name
        """Return the next piece of the body, or the end. On the platform only the last piece is shorter than asked."""
        return await self.read()

    async def cancel(self) -> None:
        """Stop reading the body."""
        self._pieces = iter(())

    async def whole(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)


class Uint8Array:
    """A stand-in for JavaScript's array of bytes, of which only the making is used."""

    @staticmethod
    def new(_memory: object) -> "Uint8Array":
        """Make an array."""
        return Uint8Array()


class Object:
    """A stand-in for JavaScript's `Object`, in which an object of JavaScript is a dictionary."""

    fromEntries = dict  # noqa: N815 - the platform's name


class JSON:
    """A stand-in for JavaScript's `JSON`."""

    stringify = staticmethod(json.dumps)
    parse = staticmethod(json.loads)


class JsRequest:
    """A stand-in for JavaScript's `Request`. `pieces` is None for a request without a body."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], pieces: Iterator[bytes] | None) -> None:
        self.method = method
        self.url = url
        self.headers = [(name.lower(), value) for name, value in headers.items()]
        self.body = None if pieces is None else BodyStream(pieces)

    async def arrayBuffer(self) -> StreamPart:  # noqa: N802 - the platform's name
        """Return the whole body of the request."""
        return StreamPart(b"" if self.body is None else await self.body.whole())


class SdkRequest:
    """A stand-in for the SDK's request, which wraps JavaScript's `Request`."""

    def __init__(self, js_object: JsRequest) -> None:
        self.js_object = js_object


class Resolvers:
    """A promise, and the method that fulfils the promise."""

    def __init__(self) -> None:
        self.promise: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve(self) -> None:
        """Fulfil the promise."""
        if not self.promise.done():
            self.promise.set_result(None)


class Promise:
    """A stand-in for JavaScript's `Promise`."""

    withResolvers = Resolvers  # noqa: N815 - the platform's name


class Response:
    """A stand-in for JavaScript's `Response`.

    Like the platform's `Response`, this one refuses a body if the status allows no body.
    """

    def __init__(self, body: str | IdentityTransformStream | None, status: int, headers: dict[str, str]) -> None:
        if body is not None and status in STATUSES_WITHOUT_BODY:
            raise TypeError("Response with null body status cannot have body")
        self.status = status
        self.headers = headers
        self.body = body

    @staticmethod
    def new(body: str | IdentityTransformStream | None, options: dict[str, Any]) -> "Response":
        """Make a response, as `new Response` does in JavaScript."""
        return Response(body, **options)

    async def text(self) -> str:
        """Return the body as text."""
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
        "FixedLengthStream": FixedLengthStream,
        "IdentityTransformStream": IdentityTransformStream,
        "JSON": JSON,
        "Object": Object,
        "Promise": Promise,
        "Response": Response,
        "Uint8Array": Uint8Array,
    },
)
_register("pyodide", {})
_register("pyodide.ffi", {"JsException": JsError, "to_js": lambda value: value})
