"""Bounds the memory that the requests and runs of an isolate hold at once.

The platform ends an isolate that has more than 128 MB, with all of its requests and runs. Whatever holds more than a
little takes a share first. A request without a share is refused (503), and a run waits for its turn. A killed
invocation runs no `finally`, so a share is only lent: without a sign of life for MEMORY_SHARE_SECONDS it may be taken
back, and its holder finds it closed.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

from ..calls import clock
from ..domain import limits
from ..domain.errors import MemoryShort

User = Literal["request", "run"]


class MemoryShare:
    """Memory that one request or run may hold. `free` releases what the holder has outside of Python's memory."""

    def __init__(self, of: "MemoryAllowance", user: User, size: int, free: Callable[[], None]) -> None:
        self._of = of
        self.user = user
        self.size = size
        self.free = free
        self.alive_at = 0.0

    def renew(self) -> None:
        """Give a sign of life. Raises MemoryShort if the share was taken back."""
        if self not in self._of.shares:
            raise MemoryShort("the memory was lent to another request")
        self.alive_at = clock.now()

    def resize(self, size: int) -> bool:
        """Make the share larger, if there is memory for it, or smaller. A share that is closed is lent again."""
        if size > self.size and not self._of.allows(self, size):
            return False
        self.count(size)
        return True

    def count(self, size: int) -> None:
        """Note how much is held, although it may be more than there is. A share of nothing is given back."""
        self.size, self.alive_at = size, clock.now()
        if not size:
            self.close()
        elif self not in self._of.shares:
            self._of.shares.append(self)

    def close(self) -> None:
        """Give the memory back. Closing a share again does nothing."""
        if self in self._of.shares:
            self._of.shares.remove(self)


class MemoryAllowance:
    """What all requests and runs of an isolate may hold together: `most` bytes, by default MEMORY_BYTES.

    Neither requests nor runs can shut the other out: if none of its kind holds memory, one always gets its share. So a
    lone request is never refused, although WebAssembly's memory never shrinks.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = limits.MEMORY_BYTES if most is None else most
        self.shares: list[MemoryShare] = []  # The shares that are lent.

    @property
    def taken(self) -> int:
        """How many bytes are lent."""
        return sum(share.size for share in self.shares)

    def take(self, user: User, size: int, free: Callable[[], None] = lambda: None) -> MemoryShare | None:
        """Lend `size` bytes at once, or nothing. `free` is called if the share is taken back."""
        share = MemoryShare(self, user, 0, free)
        return share if share.resize(size) else None

    async def share(
        self, user: User, size: int, seconds: float, free: Callable[[], None] = lambda: None
    ) -> MemoryShare:
        """Lend memory, looking again and again, as requests share no future. Raises MemoryShort in the end."""
        until = clock.now() + seconds
        while (share := self.take(user, size, free)) is None:
            if clock.now() >= until:
                raise MemoryShort("the isolate's memory is in use")
            await asyncio.sleep(limits.MEMORY_LOOK_SECONDS)
        return share

    def allows(self, share: MemoryShare, size: int) -> bool:
        """Whether a share may have this size, if need be after shares of probably dead holders were taken back."""
        if not self._has_room(share, size):
            self._take_back()
        return self._has_room(share, size)

    def _has_room(self, share: MemoryShare, size: int) -> bool:
        others = [one for one in self.shares if one is not share]
        is_alone = not any(one.user == share.user for one in others)
        return is_alone or sum(one.size for one in others) + size <= self._most

    def _take_back(self) -> None:
        """Take back the shares whose holders have given no sign of life, and are probably dead."""
        dead_at = clock.now() - limits.MEMORY_SHARE_SECONDS
        for share in [share for share in self.shares if share.alive_at < dead_at]:
            share.close()
            share.free()
