"""The simulation's bucket with faults in the order that a test sets. It implements `store.blobs.r2.R2`."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Literal

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.r2.bucket import BucketServer
from src.features.files.blobs import Buffer
from src.features.files.blobs.r2 import ListedObject

INTERNAL = "put: We encountered an internal error. Please try again. (10001)"
RATE_LIMITED = "put: Reduce your concurrent request rate for the same object. (10058)"
NO_BUCKET = "put: The specified bucket does not exist. (10006)"
LOST = "Network connection lost."

type When = Literal["before", "after", "later", "hang"]


class MemoryR2(BucketServer):
    """One bucket. `calls` counts the calls that reached the bucket.

    `fail(message, when, times)` makes the next calls raise an error. With "before" they have no effect, with "after"
    they take effect, and with "later" they take effect at the next `land`. With "hang" a call never answers and has no
    effect.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__(FaultPlan(Random(), {}), now_ms)
        self.calls: list[str] = []
        self._faults: list[tuple[str, When]] = []
        self._late: list[Callable[[], object]] = []

    def fail(self, message: str, when: When = "before", times: int = 1) -> None:
        self._faults += [(message, when)] * times

    def heal(self) -> None:
        self._faults.clear()

    @property
    def late(self) -> int:
        return len(self._late)

    def land(self) -> None:
        while self._late:
            self._late.pop(0)()

    def buffer(self, most: int) -> "MemoryPart":
        return MemoryPart(most)

    async def put(self, key: str, body: bytes | Buffer) -> None:
        content = bytes(body.content) if isinstance(body, MemoryPart) else body
        assert isinstance(content, bytes)
        await self._call("put", lambda: self.store(key, content))

    async def get(self, key: str, start: int, length: int) -> bytes | None:
        assert length > 0
        return await self._call("get", lambda: self.part(key, start, length))

    async def open(self, key: str, size: int) -> bytes | None:
        return await self._call("open", lambda: self.whole(key, size))

    async def delete(self, keys: list[str]) -> None:
        assert 0 < len(keys) <= 1_000
        await self._call("delete", lambda: self.remove(keys))

    async def list(self, prefix: str, after: str, most: int) -> tuple[list[ListedObject], bool]:
        assert 0 < most <= 1_000
        listed, is_more = await self._call("list", lambda: self.page(prefix, after, most))
        return [ListedObject(*one) for one in listed], is_more

    async def _call[Answer](self, name: str, effect: Callable[[], Answer]) -> Answer:
        self.calls.append(name)
        message, when = self._faults.pop(0) if self._faults else ("", None)
        if when == "hang":
            await asyncio.get_running_loop().create_future()
        if when == "later":
            self._late.append(effect)
        if when in {"before", "later"}:
            raise RuntimeError(message)
        answer = effect()
        if when == "after":
            raise RuntimeError(message)
        return answer


class MemoryPart:
    def __init__(self, most: int) -> None:
        self._most = most
        self.content = bytearray()

    def __len__(self) -> int:
        return len(self.content)

    def append(self, chunk: bytes) -> None:
        assert len(self.content) + len(chunk) <= self._most
        self.content += chunk

    def clear(self) -> None:
        self.content = bytearray()

    def free(self) -> None:
        self.content = bytearray()
