"""Simulates a bucket of R2, with the faults of a store of objects on a network.

The binding has the methods of the Worker's own protocol of R2 (`store.blobs.r2.R2`), which passes Python's values. A
bucket is consistent: a read after a put sees the object. Only a listing may be out of date (a part of fault 31), and a
bucket may say for a while that nothing is there (fault 39).
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.scope import SCOPE
from simulator.platform.binding_port import CONNECTION_LOST, JsError, Pending, Port, Reply
from simulator.platform.isolate import Isolate, SimulatedInvocation

INTERNAL = "We encountered an internal error. Please try again. (10001)"
TOO_MANY = "Reduce your concurrent request rate for the same object. (10058)"
OUT_OF_RANGE = "The requested range is not satisfiable (10039)"
KEYS_MOST = 1_000
KEY_BYTES_MOST = 1_024
LATE_SECONDS = (0.05, 120.0)  # A put or deletion that failed for its caller may land so much later.
ABSENT_SECONDS = (1.0, 60.0)  # For how long the bucket finds no object.
LAG_SECONDS = 60.0  # A listing that is out of date lacks objects younger than this.

type Later = Callable[..., object]


class StoredObject(NamedTuple):
    """An object: its bytes, and when it was last stored, in milliseconds since the epoch."""

    body: bytes
    stored_at: int


class ListedKey(NamedTuple):
    """An object as a listing shows it."""

    key: str
    stored_at: int


class Bytes:
    """A buffer for the bytes of one object, in the memory of an isolate."""

    def __init__(self, most: int, isolate: Isolate) -> None:
        self._most = most
        self._isolate = isolate
        self.content = bytearray()
        scope = SCOPE.get()
        self.owner = scope if isinstance(scope, SimulatedInvocation) else None
        isolate.buffers.append(self)

    def __len__(self) -> int:
        """Return how many bytes the buffer has."""
        return len(self.content)

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        assert len(self.content) + len(chunk) <= self._most, "a buffer overflows"
        self.content += chunk
        self._isolate.check_memory()

    def clear(self) -> None:
        """Remove all bytes."""
        self.content.clear()

    def free(self) -> None:
        """Release the memory."""
        self.content = bytearray()


class BucketServer:
    """The bucket at the other end of the network. `objects` outlive every isolate.

    `observers` are called after each call that changes the bucket. `operations` counts calls by their names.
    """

    def __init__(self, faults: FaultPlan, now_ms: Callable[[], int]) -> None:
        self.faults = faults
        self.objects: dict[str, StoredObject] = {}
        self.observers: list[Callable[[], None]] = []
        self.operations: Counter[str] = Counter()
        self.elsewhere: frozenset[str] = frozenset()  # The objects in a bucket that is not bound any more.
        self._absent_until: float | None = (
            None  # Until when no object is found, in milliseconds; None between absences.
        )
        self._now_ms = now_ms

    def replace(self) -> None:
        """Bind another bucket, in which nothing is yet (a part of fault 39)."""
        self.elsewhere = frozenset(self.objects)

    def write(self, name: str, effect: Callable[[], None], reply: Reply, later: Later) -> None:
        """Carry out a put or a deletion, with R2's faults. `later(seconds, function)` runs a function later."""
        faults = self.faults
        self.operations[name] += 1

        def land() -> None:
            effect()
            for observe in self.observers:
                observe()

        if self._refuses(name, reply):
            return
        if faults.fires("r2_lands_later", "r2"):
            later(faults.between(*LATE_SECONDS), land)
            reply(None, JsError(f"{name}: {CONNECTION_LOST}"))
            return
        if faults.fires("r2_hangs", "r2"):
            if faults.between(0, 1) < 0.5:
                land()
            return
        land()
        if faults.fires("r2_lands_twice", "r2"):
            later(faults.between(*LATE_SECONDS), land)
        failed = faults.fires("r2_failed_after", "r2")
        reply(None, JsError(f"{name}: {INTERNAL}") if failed else None)

    def read(self, name: str, answer: Callable[[], Any], reply: Reply) -> None:
        """Carry out a read or a list, with R2's faults."""
        self.operations[name] += 1
        if self._refuses(name, reply) or self.faults.fires("r2_hangs", "r2"):
            return
        try:
            found = answer()
        except JsError as error:
            reply(None, error)
            return
        reply(found, None)

    def _refuses(self, name: str, reply: Reply) -> bool:
        if self.faults.fires("r2_rate_limited", "r2"):
            reply(None, JsError(f"{name}: {TOO_MANY}"))
            return True
        if self.faults.fires("r2_failed_before", "r2"):
            reply(None, JsError(f"{name}: {INTERNAL}"))
            return True
        return False

    def store(self, key: str, body: bytes) -> None:
        """Store an object."""
        self.objects[key] = StoredObject(body, self._now_ms())

    def remove(self, keys: list[str]) -> None:
        """Delete objects."""
        for key in keys:
            self.objects.pop(key, None)

    def part(self, key: str, start: int, length: int) -> bytes | None:
        """Return a range of an object's bytes, cut at the object's end. Returns None if the object does not exist."""
        found = self._find(key)
        if found is None:
            return None
        if start >= len(found.body):
            raise JsError(f"get: {OUT_OF_RANGE}")
        return found.body[start : start + length]

    def whole(self, key: str, size: int) -> bytes | None:
        """Return the bytes of an object if it has this size, otherwise None."""
        found = self._find(key)
        return None if found is None or len(found.body) != size else found.body

    def _find(self, key: str) -> StoredObject | None:
        """Return an object unless the bucket finds none now. After such a time one read finds what is there."""
        now = self._now_ms()
        if self._absent_until is None:
            if self.faults.fires("r2_finds_nothing", "r2"):
                self._absent_until = now + 1000 * self.faults.between(*ABSENT_SECONDS)
                return None
        elif now < self._absent_until:
            return None
        else:
            self._absent_until = None
        return None if key in self.elsewhere else self.objects.get(key)

    def page(self, prefix: str, after: str, most: int) -> tuple[list[ListedKey], bool]:
        """Return one page of a list of objects, and whether further objects follow after the page."""
        lags = self.faults.fires("r2_list_lags", "r2")
        newest = self._now_ms() - LAG_SECONDS * 1000 if lags else self._now_ms()
        keys = sorted(
            (
                key
                for key, found in self.objects.items()
                if found.stored_at <= newest and key.startswith(prefix) and key not in self.elsewhere
            ),
            key=str.encode,
        )
        keys = [key for key in keys if key.encode() > after.encode()]
        return [ListedKey(key, self.objects[key].stored_at) for key in keys[:most]], len(keys) > most


class BucketBinding:
    """The binding of the bucket in one isolate."""

    def __init__(self, server: BucketServer, port: Port) -> None:
        self._server = server
        self._port = port

    def buffer(self, most: int) -> Bytes:
        """Return an empty buffer."""
        return Bytes(most, self._port.isolate)

    def put(self, key: str, body: "bytes | Bytes") -> Pending:
        """Ask the bucket to store an object. The bytes of a buffer are read when the call is made."""
        content = bytes(body.content) if isinstance(body, Bytes) else body
        assert 0 < len(key.encode()) <= KEY_BYTES_MOST, "R2 refuses such a key"
        return self._write("put", lambda: self._server.store(key, content))

    def get(self, key: str, start: int, length: int) -> Pending:
        """Ask for a range of an object's bytes."""
        return self._read("get", lambda: self._server.part(key, start, length))

    def open(self, key: str, size: int) -> Pending:
        """Ask for a whole object, which must have this size."""
        return self._read("get", lambda: self._server.whole(key, size))

    def delete(self, keys: list[str]) -> Pending:
        """Delete objects."""
        assert len(keys) <= KEYS_MOST, "R2 refuses so many keys"
        return self._write("delete", lambda: self._server.remove(list(keys)))

    def list(self, prefix: str, after: str, most: int) -> Pending:
        """List objects."""
        assert 0 < most <= KEYS_MOST, "R2 refuses such a limit"
        return self._read("list", lambda: self._server.page(prefix, after, most))

    def _write(self, name: str, effect: Callable[[], None]) -> Pending:
        loop = self._port.loop

        def later(seconds: float, function: Callable[[], None]) -> None:
            loop.call_later(seconds, function, context=loop.outside)

        return self._port.call(f"r2.{name}", lambda reply: self._server.write(name, effect, reply, later))

    def _read(self, name: str, answer: Callable[[], Any]) -> Pending:
        return self._port.call(f"r2.{name}", lambda reply: self._server.read(name, answer, reply))
