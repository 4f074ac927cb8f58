"""The SQL by which a run reads the part of a task's text and outputs that it works on, and no more."""

from ..d1.statement import statement
from .fragments import sizes, stored


def window(first: str, condition: str, *, also: str = "1") -> str:
    """Give the text of chunks from `first` on, an expression: one row, or none if the condition is false.

    The window has the next `:least` chunks, and those of the next `:most` whose text ends within `:chars` code points.
    `start` is where the first one begins without its overlap, `ends` where each one ends, and `text` their text, empty
    without chunks. SQLite's `substr` counts code points, as cuts do. `also` adds columns.
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
SELECT {first} AS first, instructions, overlap, start, (SELECT json_group_array(cut) FROM inside) AS ends,
  coalesce(substr(input, max(0, start - overlap) + 1, (SELECT max(cut) FROM inside) - max(0, start - overlap)), '')
    AS text, {also}
FROM texts, border WHERE task_id = :task_key AND {condition}"""


# Reads a window for the worker that has the claim. Another worker gets no row, because a task that was completed in
# between has no text any more.
WINDOW = statement(
    window(":first", "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND fence = :fence AND status = 'processing')")
)

# Reads the sizes of one level's outputs, to plan their merge.
LEVEL_SIZES = statement(sizes(":level"))

# Reads the outputs of one level from `:first` to `:last`, to merge them.
LEVEL_OUTPUTS = statement(stored(":level", first=":first", last=":last"))
