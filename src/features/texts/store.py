"""Tasks whose text is in a file: accepts them, reads where their text is cut, and records the cuts.

The rows of such a task in the tables of tasks are written as those of any task. This module writes what only it has.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from ...kernel.domain.errors import StoreUnavailable, TextFileGone
from ...kernel.domain.ids import TaskKey, split_task_key
from ...kernel.domain.task import NewTask, first_line
from ...kernel.store import admission, d1
from ...kernel.store.admission import UNCONDITIONAL, Accepted, AdmissionStore, Conditions, LimitReached, Outcome
from ...kernel.store.d1 import BoundStatement, Value, statement
from ...kernel.store.fragments import NOW, UNDER_CLAIM
from ..context.preparing import NOTHING_ALONG, Along
from .file_cuts import CutAt, CutPortion

# --- A new task ------------------------------------------------------------------------------------------

# A condition: the file `:text_file` is complete, is for texts and has not expired.
_READY = f"""EXISTS (SELECT 1 FROM files WHERE files.id = :text_file AND state = 'ready' AND purpose = 'user_data'
  AND coalesce(expires_at > {NOW}, 1))"""

# Writes the task, as INSERT_TASK does, if the file is there. From then on the row keeps the file from its erasure.
INSERT_FILE_TASK = admission.insert_task("'file'", _READY, also=("text_file",))

# Writes the row for the cuts of a task that was written in the same transaction, or before if the write is sent again.
INSERT_FILE_TEXT = statement("""
INSERT INTO file_texts (task_id) SELECT :task_key WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Says whether the task was written, and whether the file is there.
IS_FILE_TASK_ACCEPTED = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted, {_READY} AS has_file
""")

# --- The cuts --------------------------------------------------------------------------------------------

# Reads how far the text of a task is cut.
CUT_AT = statement("""
SELECT cut_bytes, cut_chars, cut_chunks, marks, headings FROM file_texts JOIN texts USING (task_id)
WHERE task_id = :task_key
""")

# Reads where each chunk lies, in code points of the text and in bytes of the file, once the whole text is cut.
FILE_CUTS = statement("""
SELECT cuts, overlap, byte_ends FROM texts JOIN file_texts USING (task_id) WHERE task_id = :task_key
""")

# Each of the following statements is part of a step of the worker that has the claim, and names the claim and the step.
# A write that is sent again, or that arrives after a later one, finds that the text is cut farther than `:from_bytes`,
# or that `total` is set.

_UNDER_CLAIM = f"{UNDER_CLAIM} AND step <= :step AND status = 'processing'"
_UNCUT = f"EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM})"

# Records the chunks of one portion of the file. `:char_ends` and `:byte_ends` are their ends, with a comma behind each,
# and `:marks` are the numbers of marks in the portion.
CUT_ON = statement(f"""
UPDATE file_texts SET cut_bytes = :cut_bytes, cut_chars = :cut_chars, cut_chunks = :cut_chunks,
  char_ends = char_ends || :char_ends, byte_ends = byte_ends || :byte_ends, marks = marks || :marks
WHERE task_id = :task_key AND cut_bytes = :from_bytes AND {_UNCUT}
""")

# Records the headings above the chunks behind a portion. It goes before CUT_ON.
HEAD_ON = statement(f"""
UPDATE texts SET headings = coalesce(headings, '') || :headings WHERE task_id = :task_key AND {_UNCUT}
  AND EXISTS (SELECT 1 FROM file_texts WHERE task_id = :task_key AND cut_bytes = :from_bytes)
""")

# Records the number of the text's marks, once it is cut. D1 binds each number as a double.
MARK_TASK = statement(f"""
UPDATE tasks SET long_text = json_set(long_text, '$.mark', CAST(:mark AS INTEGER))
WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")

# Records the first line of the text, one of the task's names, with the first portion.
NAME_TASK = statement(f"""
UPDATE tasks SET first_line = :first_line WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")

# Record that the whole text is cut. KEEP_CUTS and DROP_CHAR_ENDS move the cuts to where every task has them, and
# START_CHUNKS, which goes last, lets the calls begin.
KEEP_CUTS = statement(f"""
UPDATE texts SET cuts = (SELECT '[' || rtrim(char_ends, ',') || ']' FROM file_texts WHERE task_id = :task_key)
WHERE task_id = :task_key AND {_UNCUT}
""")
DROP_CHAR_ENDS = statement(f"UPDATE file_texts SET char_ends = '' WHERE task_id = :task_key AND {_UNCUT}")
START_CHUNKS = statement(f"""
UPDATE tasks SET total = (SELECT cut_chunks FROM file_texts WHERE task_id = :task_key)
WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")


class Cuts(NamedTuple):
    """Where chunks end, in code points and in bytes of the file. `byte_ends` begins with where the text begins."""

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
        outcome = admission.outcome_of(new.task_key, on, results)
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

    async def cut_at(self, task_key: TaskKey) -> tuple[CutAt, Along] | None:
        """Read how far the text of a task is cut, and what goes along so far. None: the task is gone."""
        (found,) = await self._database.run(CUT_AT.bind(task_key=task_key))
        if not found:
            return None
        (row,) = found
        at = CutAt(*(d1.whole(row, f"cut_{name}") for name in CutAt._fields))
        return at, Along(d1.text(row, "marks"), d1.maybe_text(row, "headings") or "")

    async def cuts(self, task_key: TaskKey) -> Cuts | None:
        """Read where the chunks of a text that is cut lie. None: the task is gone."""
        (found,) = await self._database.run(FILE_CUTS.bind(task_key=task_key))
        if not found:
            return None
        (row,) = found
        byte_ends = tuple(map(int, d1.text(row, "byte_ends").rstrip(",").split(",")))
        cuts = Cuts(d1.whole_list(row, "cuts"), byte_ends, d1.whole(row, "overlap"))
        assert len(cuts.byte_ends) == len(cuts.ends) + 1, "cuts of another text"
        assert all(first < behind for first, behind in pairwise(cuts.byte_ends)), "a chunk without bytes"
        return cuts


# The statements with which a worker records the cuts, as parts of its steps. `under` names the claim and the step.


def cut_on(
    under: Mapping[str, Value], from_bytes: int, found: CutPortion, along: Along = NOTHING_ALONG
) -> list[BoundStatement]:
    """Record the chunks of a portion behind the byte `from_bytes`. `along` has the marks and headings that it adds."""
    starts = () if found.start is None else (found.start,)
    written = [
        CUT_ON.bind(
            **under,
            from_bytes=from_bytes,
            **{f"cut_{name}": value for name, value in found.at._asdict().items()},
            char_ends=_listed(found.ends),
            byte_ends=_listed((*starts, *found.byte_ends)),
            marks=along.marks,
        )
    ]
    if along.headings:
        written.insert(0, HEAD_ON.bind(**under, from_bytes=from_bytes, headings=along.headings))
    if starts:
        written.insert(0, NAME_TASK.bind(**under, first_line=first_line(found.text)))
    return written


def all_cut(under: Mapping[str, Value], mark: int | None = None) -> list[BoundStatement]:
    """Record that the whole text is cut, so that calls may begin. `mark` is the number of its marks."""
    marked = [] if mark is None else [MARK_TASK.bind(**under, mark=mark)]
    return [*marked, *(one.bind(**under) for one in (KEEP_CUTS, DROP_CHAR_ENDS, START_CHUNKS))]


def _listed(numbers: tuple[int, ...]) -> str:
    return "".join(f"{number}," for number in numbers)


def _submission(new: NewTask, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the statements of the transaction that writes a new task."""
    assert new.text_file is not None
    assert not new.cuts, "a text that is cut before its file is read"
    task_key, submission = new.task_key, on.submission(new.task_key)
    values = admission.task_values(new, unclaimed_ms, on, submission)
    writes = [INSERT_FILE_TASK.bind(**values, text_file=new.text_file)]
    if on.characters_a_day_most is not None:
        tenant, _ = split_task_key(task_key)
        count = admission.COUNT_CHARACTERS
        writes.append(count.bind(task_key=task_key, tenant=tenant, characters=new.characters))
    writes += [admission.text_row(new, submission), INSERT_FILE_TEXT.bind(task_key=task_key)]
    accepted = IS_FILE_TASK_ACCEPTED.bind(task_key=task_key, text_file=new.text_file)
    return [*admission.holding(task_key, on, writes), accepted]
