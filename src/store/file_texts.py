"""Reads and writes tasks whose text is in a file: accepts them, reads where their text is cut, and records the cuts.

The rows of such a task in the tables of tasks are written as those of any task. This module writes what only it has.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from ..core.errors import StoreUnavailable, TextFileGone
from ..core.ids import TaskKey, split_task_key
from ..core.task import NewTask, first_line
from ..core.text.file_cuts import CutAt, CutSlice
from .admission import (
    UNCONDITIONAL,
    Accepted,
    AdmissionStore,
    Conditions,
    LimitReached,
    Outcome,
    holding,
    outcome_of,
    task_values,
    text_row,
)
from .d1 import columns
from .d1.statement import BoundStatement, Value
from .sql import admission as admission_sql
from .sql import file_texts as sql


class Cuts(NamedTuple):
    """Where each chunk of a text ends, in code points of the text, and the same in bytes of the file.

    `byte_ends` has one more element: it begins with the byte at which the text begins in the file.
    """

    ends: tuple[int, ...]
    byte_ends: tuple[int, ...]
    overlap: int


class FileTextStore(AdmissionStore):
    """Reads and writes the rows of tasks whose text is in a file. Each method is one call to D1."""

    async def submit(self, new: NewTask, unclaimed_ms: int, on: Conditions = UNCONDITIONAL) -> Outcome:
        """Write a new task if the conditions `on` are met, and its file is there. Raises TextFileGone if it is not.

        From the write on the file is in use, so it is not erased before the task has ended. See `AdmissionStore.insert`
        for what is the same with any task.
        """
        *results, (facts,) = await self._database.run(*_submission(new, unclaimed_ms, on))
        outcome = outcome_of(new.task_key, on, results)
        if facts["accepted"]:
            return outcome
        if self._database.sends > 1:
            try:
                await self.withdraw(new, on)
            except StoreUnavailable as error:
                error.withdrawing = True
                raise
        # Without conditions `outcome_of` does not see that the task was refused. An earlier request with the same key
        # decides the answer, whatever became of the file.
        if isinstance(outcome, Accepted | LimitReached) and not facts["has_file"]:
            raise TextFileGone
        return outcome

    async def cut_at(self, task_key: TaskKey) -> CutAt | None:
        """Read how far the text of a task is cut. None: the task is gone."""
        (found,) = await self._database.run(sql.CUT_AT.bind(task_key=task_key))
        return CutAt(*(columns.whole(found[0], f"cut_{name}") for name in CutAt._fields)) if found else None

    async def cuts(self, task_key: TaskKey) -> Cuts | None:
        """Read where the chunks of a text that is cut lie. None: the task is gone."""
        (found,) = await self._database.run(sql.FILE_CUTS.bind(task_key=task_key))
        if not found:
            return None
        (row,) = found
        byte_ends = tuple(map(int, columns.text(row, "byte_ends").rstrip(",").split(",")))
        cuts = Cuts(columns.whole_list(row, "cuts"), byte_ends, columns.whole(row, "overlap"))
        assert len(cuts.byte_ends) == len(cuts.ends) + 1, "cuts of another text"
        assert all(first < behind for first, behind in pairwise(cuts.byte_ends)), "a chunk without bytes"
        return cuts


class CutStatements:
    """Makes the statements with which a worker records the cuts, as parts of its steps.

    `under` are the parameters that name the claim and the step.
    """

    def __init__(self, under: Mapping[str, Value]) -> None:
        self._under = dict(under)

    def cut_on(self, from_bytes: int, found: CutSlice) -> list[BoundStatement]:
        """Record the chunks of one slice, which follow the cut at the byte `from_bytes` of the file."""
        starts = () if found.start is None else (found.start,)
        written = sql.CUT_ON.bind(
            **self._under,
            from_bytes=from_bytes,
            **{f"cut_{name}": value for name, value in found.at._asdict().items()},
            char_ends=_listed(found.ends),
            byte_ends=_listed((*starts, *found.byte_ends)),
        )
        if found.start is None:
            return [written]
        return [sql.NAME_TASK.bind(**self._under, first_line=first_line(found.text)), written]

    def all_cut(self) -> list[BoundStatement]:
        """Record that the whole text is cut, so that calls may begin."""
        return [one.bind(**self._under) for one in (sql.KEEP_CUTS, sql.DROP_CHAR_ENDS, sql.START_CHUNKS)]


def _listed(numbers: tuple[int, ...]) -> str:
    return "".join(f"{number}," for number in numbers)


def _submission(new: NewTask, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the statements of the transaction that writes a new task."""
    assert new.text_file is not None
    assert not new.cuts, "a text that is cut before its file is read"
    task_key, submission = new.task_key, on.submission(new.task_key)
    values = task_values(new, unclaimed_ms, on, submission)
    writes = [sql.INSERT_FILE_TASK.bind(**values, text_file=new.text_file)]
    if on.characters_a_day_most is not None:
        tenant, _ = split_task_key(task_key)
        count = admission_sql.COUNT_CHARACTERS
        writes.append(count.bind(task_key=task_key, tenant=tenant, characters=new.characters))
    writes += [text_row(new, submission), sql.INSERT_FILE_TEXT.bind(task_key=task_key)]
    return [*holding(task_key, on, writes), sql.IS_FILE_TASK_ACCEPTED.bind(task_key=task_key, text_file=new.text_file)]
