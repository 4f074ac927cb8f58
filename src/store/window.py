"""Reads for a worker with a claim: the part of the text that the worker processes, and the outputs that it merges."""

from collections.abc import Mapping, Sequence
from itertools import count

from ..core import limits
from ..core.ids import TaskKey
from ..core.text.window import Window
from .d1.database import Store
from .records import rows
from .sql import window as sql


class WindowStore(Store):
    """Reads parts of a task for the task's worker, and writes nothing.

    Each method of `WindowStore` is one call to D1.
    """

    async def window(self, task_key: TaskKey, fence: int, first: int, chunks: int) -> Window | None:
        """Read the text of at least one and at most `chunks` chunks, from chunk `first` on.

        The result is None if the claim is over.
        """
        (found,) = await self._database.run(
            sql.WINDOW.bind(
                task_key=task_key, fence=fence, first=first, least=1, most=chunks, chars=limits.WINDOW_CHARS_MOST
            )
        )
        return rows.window(found[0]) if found else None

    async def level_sizes(self, task_key: TaskKey, level: int) -> Sequence[int]:
        """Read the lengths of one level's outputs in code points, in order, up to the first missing output.

        Only the lengths of the outputs are read, and not their texts.
        """
        sizes = await self.sizes_by_place(task_key, level)
        gap = next(place for place in count() if place not in sizes)
        return [sizes[place] for place in range(gap)]

    async def sizes_by_place(self, task_key: TaskKey, level: int) -> Mapping[int, int]:
        """Read the lengths of one level's outputs in code points, by position, without the texts."""
        (found,) = await self._database.run(sql.LEVEL_SIZES.bind(task_key=task_key, level=level))
        return rows.sizes(found)

    async def level_outputs(self, task_key: TaskKey, level: int, first: int, last: int) -> Mapping[int, str]:
        """Read the outputs of one level at the positions from `first` to `last`, by position."""
        (found,) = await self._database.run(
            sql.LEVEL_OUTPUTS.bind(task_key=task_key, level=level, first=first, last=last)
        )
        read = rows.outputs(level, found, range(first, last + 1))
        return {output.key.position: output.text for output in read}
