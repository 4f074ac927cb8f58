"""Retries the gaps of a completed task in a new task, which begins with copies of all other outputs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from ..core.states import Status
from ..core.task import Route, is_truncated
from .admission import AdmissionStore, Conditions, Outcome, holding, outcome_of
from .d1 import columns
from .d1.statement import BoundStatement, Value
from .records import rows, segments, structures
from .records.claims import Output
from .records.ladder import Inherited
from .sql import gap_retries as sql
from .sql import window


class GapRetry(NamedTuple):
    """The plan for a retry of a task's gaps: which outputs of merges are copied, what is inherited, and what is called.

    `merged` has the outputs compressed, as they are stored. `cut_redone` counts outputs that were cut off and are made
    again.
    """

    old_key: TaskKey
    merged: Sequence[segments.Piece]
    inherited: Inherited
    minimum_calls: int
    cut_redone: int


class GapRetryStore(AdmissionStore):
    """Plans and writes tasks that retry the gaps of a completed task."""

    async def plan_gap_retry(self, old_key: TaskKey) -> GapRetry | None:
        """Plan a retry of a task's gaps. Returns None if the task has not completed with gaps, or does not exist."""
        found, gaps, plan = await self._database.run(
            sql.OLD_TASK.bind(old_key=old_key),
            sql.OLD_GAPS.bind(task_key=old_key),
            sql.OLD_PLAN.bind(old_key=old_key),
        )
        if not found or columns.text(found[0], "status") != Status.COMPLETED or not gaps:
            return None
        merges = tuple(columns.whole_list(row, "ends") for row in plan)
        merged = list[segments.Piece]()
        copied = columns.whole(found[0], "completed")
        cut_redone = 0
        for level, redone in enumerate(_above({columns.whole(row, "idx") for row in gaps}, merges), start=1):
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
        minimum = columns.whole(found[0], "total") + sum(map(len, merges)) - copied
        return GapRetry(old_key, merged, Inherited(copied, merges), minimum, cut_redone)

    async def has_gaps(self, old_key: TaskKey) -> bool:
        """Read whether a task has completed with gaps. False for a task that does not exist."""
        found, gaps = await self._database.run(sql.OLD_TASK.bind(old_key=old_key), sql.OLD_GAPS.bind(task_key=old_key))
        return bool(found) and columns.text(found[0], "status") == Status.COMPLETED and bool(gaps)

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
    ) -> Outcome:
        """Write the task that retries gaps, with its copies of the old task's outputs, in one transaction.

        The task that retries gaps is written only if its idempotency key is free and its tenant's limit allows the
        task. `on` has an idempotency key made from the old task, so that a repeated request finds the task of the first
        one.
        """
        submission = on.submission(task_key)
        assert submission is not None
        both: dict[str, Value] = {"task_key": task_key, "old_key": retry.old_key}
        task = sql.INSERT_GAP_RETRY.bind(
            **both,
            route=route,
            submission=submission,
            tenant=split_task_key(task_key)[0],
            tasks_most=on.tasks_in_flight_most,
            max_calls=max_calls,
            calls_minimum=retry.minimum_calls,
            cut_redone=retry.cut_redone,
            created_at=created_at,
            unclaimed_ms=unclaimed_ms,
        )
        inherited = structures.inherited_text(retry.inherited)
        copies = [
            sql.COPY_TEXT.bind(**both, submission=submission, inherited=inherited),
            sql.COPY_FILE_TEXT.bind(**both),
            sql.COPY_OUTPUTS.bind(**both),
            *_merged_copies(both, retry.merged),
        ]
        return outcome_of(task_key, on, await self._database.run(*holding(task_key, on, [task, *copies])))


def _above(gaps: set[int], merges: Iterable[Sequence[int]]) -> Iterable[set[int]]:
    """Return, for each merge level, the merge calls that have a gap somewhere below them and so must be made again."""
    below = gaps
    for ends in merges:
        starts = (0, *ends)
        below = {
            place
            for place, (start, end) in enumerate(zip(starts, ends, strict=False))
            if any(start <= member < end for member in below)
        }
        yield below


def _pages(sizes: Mapping[int, int]) -> Iterator[Sequence[int]]:
    """Cut the places of one level's outputs into pages of a bounded number of outputs, and of characters."""
    page, chars = list[int](), 0
    for place in sorted(sizes):
        is_full = len(page) == limits.MERGE_OUTPUTS_COPIED or chars + sizes[place] > limits.ANSWER_CHARS_AT_ONCE
        if page and is_full:
            yield page
            page, chars = [], 0
        page.append(place)
        chars += sizes[place]
    if page:
        yield page


def _merged_copies(both: dict[str, Value], merged: Sequence[segments.Piece]) -> list[BoundStatement]:
    parts = Counter[int]()
    copies = []
    for piece in merged:
        copies.append(sql.COPY_MERGED.bind(**both, part=parts[piece.level], **piece._asdict()))
        parts[piece.level] += 1
    return copies
