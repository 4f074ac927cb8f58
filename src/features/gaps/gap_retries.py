"""Retries the gaps of a completed task in a new task, which begins with copies of all other outputs.

`:old_key` is the key of the completed task, which never changes, so everything that was read of it stays true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.ids import TaskKey, split_task_key
from ...kernel.domain.task import Route, Status, is_truncated
from ...kernel.store import d1, options, rows, segments, window
from ...kernel.store.admission import AdmissionStore, Conditions, Outcome, holding, outcome_of
from ...kernel.store.claims import Output
from ...kernel.store.d1 import BoundStatement, Value, statement
from ...kernel.store.fragments import HAS_TEXT, NOW, OPTIONS, done, unended, wake
from ...kernel.store.options import Inherited

# --- What is read before ---------------------------------------------------------------------------------

# Reads the state of the task whose gaps are to be retried.
OLD_TASK = statement("SELECT status, total, completed, failed FROM tasks WHERE id = :old_key")

# OLD_GAPS reads the gaps of the old task, and OLD_PLAN reads the plan of each of its merge levels.
OLD_GAPS = statement(f"""
SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0
  AND idx NOT IN ({done("0")})
""")
OLD_PLAN = statement("SELECT level, ends FROM merges WHERE task_id = :old_key ORDER BY level")

# --- The new task ----------------------------------------------------------------------------------------

_COPIED = ", ".join(f"coalesce(:{name}, {name})" if name.startswith("max_c") else name for name in options.NAMES)
_DEADLINE_AT = f"{NOW} + deadline_ms"

# Writes the pending task that retries gaps, unless another request has its Idempotency-Key or its tenant's limit of
# tasks in flight is reached. If INSERT_GAP_RETRY is sent twice, the second send changes nothing. If the write arrives
# after the new task was erased, the tombstone stops it; if the old task was erased, or its text was in a file that is
# gone, nothing is written. `:cut_redone` outputs of merges were cut off and are made again. `:max_calls` and
# `:max_cost` are NULL for the old task's budgets, and `:tasks_most` is NULL without a limit.
INSERT_GAP_RETRY = statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, completed, truncated, merge_chars, calls_minimum, created_at,
  first_line, retry_of, kind, text_file, deadline_at, wake_at)
SELECT :task_key, 'pending', :route, {_COPIED}, total, completed, max(0, truncated - :cut_redone), merge_chars,
  :calls_minimum, :created_at,
  first_line, id, kind, text_file, {_DEADLINE_AT}, {wake(f"{NOW} + :unclaimed_ms", _DEADLINE_AT)}
FROM tasks WHERE id = :old_key AND status = 'completed' AND failed > 0 AND {HAS_TEXT}
  AND EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key)
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

_THERE = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND retry_of = :old_key)"

# Copies the old task's text with its output schema. The column `texts.inherited` explains the JSON of `:inherited`.
COPY_TEXT = statement(f"""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission, output_schema, join_rules, inherited, lead,
  headings)
SELECT :task_key, input, instructions, cuts, overlap, :submission, output_schema, join_rules, :inherited, lead, headings
FROM texts WHERE task_id = :old_key AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Copies where the text of the old task lies in its file, if it does.
COPY_FILE_TEXT = statement(f"""
INSERT INTO file_texts (task_id, cut_bytes, cut_chars, cut_chunks, char_ends, byte_ends)
SELECT :task_key, cut_bytes, cut_chars, cut_chunks, char_ends, byte_ends FROM file_texts
WHERE task_id = :old_key AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Copies the outputs of all chunks, with a row for each segment. The copies have fence 0, below that of every claim, so
# the new task's first write counts as later, and its log of calls does not show them.
COPY_OUTPUTS = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, level, part, 0, 0, 0, places, sizes, body FROM segments
WHERE task_id = :old_key AND level = 0 AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Writes a segment with copies of merge outputs that have no gap below them.
COPY_MERGED = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, :level, :part, 0, 0, 0, :places, :sizes, unhex(:body) WHERE {_THERE}
ON CONFLICT DO NOTHING
""")


class GapRetry(NamedTuple):
    """The plan for a retry of a task's gaps: which outputs of merges are copied, what is inherited, and the calls."""

    old_key: TaskKey
    merged: Sequence[segments.Piece]  # compressed, as they are stored
    inherited: Inherited
    minimum_calls: int
    cut_redone: int  # How many outputs were cut off and are made again.


class GapRetryStore(AdmissionStore):
    """Plans and writes tasks that retry the gaps of a completed task."""

    async def plan_gap_retry(self, old_key: TaskKey) -> GapRetry | None:
        """Plan a retry of a task's gaps. Returns None if the task has not completed with gaps, or does not exist."""
        found, gaps, plan = await self._database.run(
            OLD_TASK.bind(old_key=old_key), OLD_GAPS.bind(task_key=old_key), OLD_PLAN.bind(old_key=old_key)
        )
        if not found or d1.text(found[0], "status") != Status.COMPLETED or not gaps:
            return None
        merges = tuple(d1.whole_list(row, "ends") for row in plan)
        merged = list[segments.Piece]()
        copied = d1.whole(found[0], "completed")
        cut_redone = 0
        for level, redone in enumerate(_above({d1.whole(row, "idx") for row in gaps}, merges), start=1):
            (of_level,) = await self._database.run(window.LEVEL_SIZES.bind(task_key=old_key, level=level))
            for places in _pages(rows.sizes(of_level)):
                outputs = await self._merged(old_key, level, places)
                if len(outputs) < len(places):
                    return None  # the task was erased in between
                kept = [output for output in outputs if output.key.position not in redone]
                merged += chain.from_iterable(segments.pieces(kept))
                copied += len(kept)
                cut_redone += sum(
                    is_truncated(output.finish_reason) for output in outputs if output.key.position in redone
                )
        minimum = d1.whole(found[0], "total") + sum(map(len, merges)) - copied
        return GapRetry(old_key, merged, Inherited(copied, merges), minimum, cut_redone)

    async def has_gaps(self, old_key: TaskKey) -> bool:
        """Read whether a task has completed with gaps. False for a task that does not exist."""
        found, gaps = await self._database.run(OLD_TASK.bind(old_key=old_key), OLD_GAPS.bind(task_key=old_key))
        return bool(found) and d1.text(found[0], "status") == Status.COMPLETED and bool(gaps)

    async def _merged(self, old_key: TaskKey, level: int, places: Sequence[int]) -> list[Output]:
        bounds = {"first": places[0], "last": places[-1]}
        (found,) = await self._database.run(window.LEVEL_OUTPUTS.bind(task_key=old_key, level=level, **bounds))
        return rows.outputs(level, found, frozenset(places))

    async def retry_gaps(
        self,
        retry: GapRetry,
        task_key: TaskKey,
        *,
        route: Route,
        created_at: int,
        unclaimed_ms: int,
        on: Conditions,
        max_calls: int | None = None,
        max_cost: int | None = None,
    ) -> Outcome:
        """Write the task that retries gaps, with its copies of the old task's outputs, in one transaction.

        It is written only if its idempotency key is free and its tenant's limit allows it. The key in `on` is made from
        the old task, so that a repeated request finds the task of the first one.
        """
        submission = on.submission(task_key)
        assert submission is not None
        both: dict[str, Value] = {"task_key": task_key, "old_key": retry.old_key}
        task = INSERT_GAP_RETRY.bind(
            **both,
            route=route,
            submission=submission,
            tenant=split_task_key(task_key)[0],
            tasks_most=on.tasks_in_flight_most,
            max_calls=max_calls,
            max_cost=max_cost,
            calls_minimum=retry.minimum_calls,
            cut_redone=retry.cut_redone,
            created_at=created_at,
            unclaimed_ms=unclaimed_ms,
        )
        inherited = options.inherited_text(retry.inherited)
        copies = [
            COPY_TEXT.bind(**both, submission=submission, inherited=inherited),
            COPY_FILE_TEXT.bind(**both),
            COPY_OUTPUTS.bind(**both),
            *_merged_copies(both, retry.merged),
        ]
        return outcome_of(task_key, on, await self._database.run(*holding(task_key, on, [task, *copies])))


def _above(gaps: set[int], merges: Iterable[Sequence[int]]) -> Iterable[set[int]]:
    """Return, for each merge level, the merge calls that have a gap somewhere below them and so must be made again."""
    below = gaps
    for ends in merges:
        starts = (0, *ends)
        below = {
            position
            for position, (start, end) in enumerate(zip(starts, ends, strict=False))
            if any(start <= member < end for member in below)
        }
        yield below


def _pages(sizes: Mapping[int, int]) -> Iterator[Sequence[int]]:
    """Cut the places of one level's outputs into pages of a bounded number of outputs, and of characters."""
    page, chars = list[int](), 0
    for position in sorted(sizes):
        is_full = len(page) == limits.MERGE_OUTPUTS_COPIED or chars + sizes[position] > limits.ANSWER_CHARS_AT_ONCE
        if page and is_full:
            yield page
            page, chars = [], 0
        page.append(position)
        chars += sizes[position]
    if page:
        yield page


def _merged_copies(both: dict[str, Value], merged: Sequence[segments.Piece]) -> list[BoundStatement]:
    parts = Counter[int]()
    copies = []
    for piece in merged:
        copies.append(COPY_MERGED.bind(**both, part=parts[piece.level], **piece._asdict()))
        parts[piece.level] += 1
    return copies
