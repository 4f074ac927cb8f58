"""The SQL with which a run reads only the part of a task's text and outputs that it works on."""

from ..d1.statement import statement
from .fragments import sizes, stored


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
SELECT {first} AS first, instructions, overlap, start, (SELECT json_group_array(cut) FROM inside) AS ends,
  coalesce(substr(input, max(0, start - overlap) + 1, (SELECT max(cut) FROM inside) - max(0, start - overlap)), '')
    AS text, {also}
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
