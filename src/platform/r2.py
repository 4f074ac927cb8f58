"""Implements the binding of R2 for the store. The bytes of a part are held in JavaScript's memory."""

from datetime import datetime
from typing import TYPE_CHECKING

from .crossing import Crossing, into_javascript

if TYPE_CHECKING:
    import js

    from ..features.files.blobs import Buffer
    from ..features.files.blobs.r2 import ListedObject

ROOM_AT_FIRST = 256 * 1024


class BoundR2:
    """The binding `BLOBS` of an R2 bucket, used without the SDK's wrapper. Errors of R2 are raised as JsException."""

    def __init__(self, binding: "js.R2Bucket") -> None:
        self._binding = binding
        self._crossing = Crossing()

    def buffer(self, most: int) -> "JsBytes":
        """Return an empty buffer, whose bytes are in JavaScript's memory."""
        return JsBytes(most)

    async def put(self, key: str, body: "bytes | Buffer") -> None:
        """Store an object. A buffer is passed to R2 directly, without a copy."""
        from pyodide.ffi import to_js

        if isinstance(body, bytes):
            await self._binding.put(key, to_js(body))
            return
        assert isinstance(body, JsBytes), "a buffer of another bucket"
        body.is_lent = True
        await self._binding.put(key, body.view())
        body.is_lent = False

    async def get(self, key: str, start: int, length: int) -> bytes | None:
        """Return a range of an object's bytes, or None if there is no object with this key."""
        options = self._crossing.into_javascript({"range": {"offset": start, "length": length}})
        found = await self._binding.get(key, options)
        return (await found.arrayBuffer()).to_bytes() if found else None

    async def open(self, key: str, size: int) -> "JsBody | None":
        """Return the body of an object, or None if there is no object with this key that has this size."""
        found = await self._binding.get(key)
        if not found:
            return None
        if found.size != size:
            await found.body.cancel()
            return None
        return JsBody(found.body)

    async def delete(self, keys: list[str]) -> None:
        """Delete objects."""
        await self._binding.delete(self._crossing.into_javascript(keys))

    async def list(self, prefix: str, after: str, most: int) -> "tuple[list[ListedObject], bool]":
        """List objects whose keys come after the key `after`, and whether there are more objects."""
        from ..features.files.blobs.r2 import ListedObject

        options: dict[str, object] = {"limit": most}
        options |= {"prefix": prefix} if prefix else {}
        options |= {"startAfter": after} if after else {}
        found = self._crossing.from_javascript(await self._binding.list(self._crossing.into_javascript(options)))
        objects = [ListedObject(one["key"], _milliseconds(one["uploaded"])) for one in found["objects"]]
        return objects, bool(found["truncated"])


class JsBody:
    """Implements `Piped` for an object's body in the bucket, which the runtime sends on without JavaScript code."""

    def __init__(self, body: "js.ReadableStream") -> None:
        self._body = body

    async def pipe_to(self, writable: object) -> None:
        """Send the bytes to a stream of the platform, which stays open unless the sending fails."""
        await self._body.pipeTo(writable, into_javascript({"preventClose": True}))


class JsBytes:
    """Implements `files.blobs.Buffer` with a Uint8Array, which is used again for each part of a file.

    It grows with its bytes, because an isolate has 128 MB for all of its requests, and most files are small. `is_lent`
    says that R2 may still read the bytes: a put without an answer may take effect late, so another array is used then.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._length = 0
        self._room = min(most, ROOM_AT_FIRST)  # How many bytes fit into the array.
        self._array = _new_array(self._room)
        self.is_lent = False

    def __len__(self) -> int:
        """Return how many bytes the buffer has."""
        return self._length

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        end = self._length + len(chunk)
        assert end <= self._most, "a part is too long"
        assert not self.is_lent, "a part that R2 may still read"
        if end > self._room:
            self._room = min(self._most, max(end, 2 * self._room))
            self._array = _new_array(self._array.buffer.transfer(self._room))
        if chunk:
            self._array.subarray(self._length, end).assign(chunk)
        self._length = end

    def clear(self) -> None:
        """Remove all bytes."""
        if self.is_lent:
            self._room = min(self._most, ROOM_AT_FIRST)
            self._array, self.is_lent = _new_array(self._room), False
        self._length = 0

    def free(self) -> None:
        """Release the memory at once, unless R2 may still read it: then with the next collection of garbage."""
        if self.is_lent:
            self.clear()
        self._array.buffer.transfer(0)
        self._room = self._length = 0

    def view(self) -> "js.Uint8Array":
        """Return the bytes as a JavaScript array, which is the buffer's own memory."""
        return self._array.subarray(0, self._length)


def _new_array(memory: "int | js.ArrayBuffer") -> "js.Uint8Array":
    """Make an array over new memory of a given size, or over existing memory."""
    from js import Uint8Array

    return Uint8Array.new(memory)


def _milliseconds(written: str) -> int:
    """Convert a time from the form in which JavaScript writes times into JSON."""
    return round(datetime.fromisoformat(written).timestamp() * 1000)
