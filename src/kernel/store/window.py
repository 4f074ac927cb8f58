"""Reads for a worker with a claim: the part of the text that the worker processes, and the outputs that it merges."""

from collections.abc import Mapping

from ..domain import limits
from ..domain.ids import TaskKey
from ..text.chunks import Window
from . import rows
from .claims import Output
from .d1 import Store, statement
from .fragments import sizes, stored

# Where the text of a window begins: with the overlap of its first chunk, or with what goes along before it.
_ORIGIN = "max(0, start - max(overlap, lead))"


def window(first: str, condition: str, *, also: str = "1") -> str:
    """Return a query for the text of chunks from `first` on, which gives one row, or no row if `condition` is false.

    The row has the next `:least` chunks, and after them further chunks, up to `:most`, whose text ends within `:chars`
    code points. `start` is where the first chunk begins without its overlap, `ends` has the end of each chunk, and
    `text` is the text of the chunks, which is empty if there are no chunks. SQLite's `substr` counts code points, and
    so do the cuts. `also` is SQL for further columns of the row.
    """
    return f"""
WITH near (idx, cut) AS (
  SELECT key, value FROM texts, json_each(cuts)
  WHERE task_id = :task_key AND key >= {first} - 1 AND key < {first} + :most
), border (start) AS (
  SELECT coalesce((SELECT cut FROM near WHERE idx = {first} - 1), 0)
), inside (cut) AS (
  SELECT cut FROM near, border WHERE idx >= {first} AND (idx < {first} + :least OR cut <= start + :chars)
)
SELECT {first} AS first, instructions, overlap, lead, start, (SELECT json_group_array(cut) FROM inside) AS ends,
  coalesce(substr(input, {_ORIGIN} + 1, (SELECT max(cut) FROM inside) - {_ORIGIN}), '') AS text, {also}
FROM texts, border WHERE task_id = :task_key AND {condition}"""


# Reads a part of a task's text for the worker that has the task's claim. Any other worker gets no row, because a task
# that was completed in the meantime may have no text any more.
WINDOW = statement(
    window(":first", "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND fence = :fence AND status = 'processing')")
)

# Reads the lengths of the outputs of one level, so that a worker can plan the merge of these outputs.
LEVEL_SIZES = statement(sizes(":level"))

# Reads the outputs of one level at the positions `:first` to `:last`, so that a worker can merge these outputs.
LEVEL_OUTPUTS = statement(stored(":level", first=":first", last=":last"))


class WindowStore(Store):
    """Reads parts of a task for the task's worker. Each method of `WindowStore` is one call to D1."""

    async def window(self, task_key: TaskKey, fence: int, first: int, chunks: int) -> Window | None:
        """Read the text of 1 to `chunks` chunks, from chunk `first` on. None: the claim is over."""
        (found,) = await self._database.run(
            WINDOW.bind(
                task_key=task_key, fence=fence, first=first, least=1, most=chunks, chars=limits.WINDOW_CHARS_MOST
            )
        )
        return rows.window(found[0]) if found else None

    async def level_sizes(self, task_key: TaskKey, level: int) -> Mapping[int, int]:
        """Read the lengths of one level's outputs in code points, by position, without the texts."""
        (found,) = await self._database.run(LEVEL_SIZES.bind(task_key=task_key, level=level))
        return rows.sizes(found)

    async def level_outputs(self, task_key: TaskKey, level: int, first: int, last: int) -> Mapping[int, Output]:
        """Read the outputs of one level at the positions from `first` to `last`, by position."""
        (found,) = await self._database.run(LEVEL_OUTPUTS.bind(task_key=task_key, level=level, first=first, last=last))
        read = rows.outputs(level, found, range(first, last + 1))
        return {output.key.position: output for output in read}
