"""The SQL of what a run reads of a task's text and outputs: what it works on, and no more."""

from .fragments import sizes, stored
from .statement import statement


def window(first: str, condition: str, *, also: str = "1") -> str:
    """Give the text of chunks from `first` on, an expression: a row, or none where the condition does not hold.

    These are the next `:least`, and of the next `:most` those whose text is within `:chars` code points besides.
    `start` is where the first of them begins but for its overlap, `ends` where each ends, `text` what they reach over:
    empty where there are none. SQLite's `substr` counts code points, as cuts do. `also` are further columns.
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


# Reads a window for the worker that holds the claim. Nobody else gets a row: a task that another worker has completed
# meanwhile has no text any more.
WINDOW = statement(
    window(":first", "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND fence = :fence AND status = 'processing')")
)

# Reads the sizes of one level's outputs, to plan their merge.
LEVEL_SIZES = statement(sizes(":level"))

# Reads outputs of one level from `:first` to `:last`, to merge them.
LEVEL_OUTPUTS = statement(stored(":level", first=":first", last=":last"))
