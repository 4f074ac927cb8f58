"""A retry of gaps is a new task that pays for gaps and the merges above them alone. The old task stays as it was."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from simulator.campaign.checks.client_promises import tag_of
from simulator.campaign.checks.custody import run_of_call
from simulator.campaign.checks.results import gaps_of
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from src.kernel.text.merge import merge_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.campaign.checks.formed import Formed
    from simulator.campaign.checks.invariants import Invariants
    from simulator.platform.d1 import PreparedStatement
    from simulator.platform.world import World
    from src.kernel.calls.protocol import ModelCall
    from src.kernel.domain.ids import TaskKey

RETRIES_JUDGED: Final = "retries of gaps, by what they copy"
CALLS_JUDGED: Final = "calls of retries of gaps"
OLD_JUDGED: Final = "tasks with gaps that stay as they were"
_TABLES: Final = ("texts", "segments", "merges", "failures")
# What others write into the row of a task that has ended: the sweep, and the sums.
_PASSING: Final = frozenset({"wake_at", "counted"})
_PLANS: Final = "SELECT ends FROM merges WHERE task_id = ? ORDER BY level"


class GapRetries:
    """The completed tasks with gaps of one world, and the tasks that make their gaps."""

    def __init__(self, world: World, invariants: Invariants, formed: Formed) -> None:
        self._world = world
        self._invariants = invariants
        self._formed = formed
        self._connection = world.database.connection
        self._known: set[TaskKey] = set()
        self._old: dict[TaskKey, Any] = {}  # Completed tasks with gaps, as they were at their end.
        self._made: dict[TaskKey, list[TaskKey]] = defaultdict(list)  # By old task: the retries of its gaps.
        self._paid: dict[TaskKey, set[str]] = {}  # By retry: the messages of the calls whose outputs it has copied.
        self._execute, self._starting = world.database.execute, world.model.starting
        world.database.execute = self._executed  # type: ignore[method-assign]
        world.model.starting = self._started

    def _executed(self, statements: Sequence[PreparedStatement]) -> list[dict[str, Any]]:
        before = self._connection.total_changes
        results = self._execute(statements)
        if self._connection.total_changes != before:
            for task_key, row in self._invariants.rows.items():
                if row.status == "completed" and row.leaves_gaps and row.failed and task_key not in self._old:
                    self._old[task_key] = self._everything(task_key)
                if task_key not in self._known and row.retry_of is not None and not row.is_batch:
                    self._born(row, row.retry_of)
            self._known = set(self._invariants.rows)
        return results

    def _everything(self, task_key: TaskKey) -> Any:
        """Read all rows of a task, without what others write into it."""
        found = self._connection.execute("SELECT * FROM tasks WHERE id = ?", (task_key,))
        names = [column[0] for column in found.description]
        own = {name: value for name, value in zip(names, found.fetchone(), strict=True) if name not in _PASSING}
        return own, [
            sorted(self._connection.execute(f"SELECT * FROM {table} WHERE task_id = ?", (task_key,)), key=repr)  # noqa: S608 - constants
            for table in _TABLES
        ]

    def _born(self, row: Row, old_key: TaskKey) -> None:
        invariants = self._invariants
        old = invariants.rows.get(old_key)
        if old is None or old_key not in self._old or invariants.tags[old_key] != invariants.tags[row.task_key]:
            raise InvariantBroken(f"{row.task_key} makes the gaps of {old_key}, which has not completed with gaps")
        if left := [one for one in self._made[old_key] if one in invariants.rows]:
            raise InvariantBroken(f"{row.task_key} makes the gaps of {old_key}, and so does {left[0]}")
        self._made[old_key].append(row.task_key)
        self._check_unchanged(old_key)
        outputs = self._outputs(old_key)
        redone = self._redone(old)
        wanted = {place: output for place, output in outputs.items() if place not in redone}
        if self._outputs(row.task_key) != wanted:
            copied = sorted(self._outputs(row.task_key))
            raise InvariantBroken(f"{row.task_key} has copied other outputs than {sorted(wanted)}: {copied}")
        if (row.completed, row.failed, row.coverage) != (old.completed, 0, None):
            raise InvariantBroken(f"{row.task_key} begins with {row.completed} chunks, {old.completed} were copied")
        self._paid[row.task_key] = self._messages(old, wanted)
        invariants.judged[RETRIES_JUDGED] += 1

    def _outputs(self, task_key: TaskKey) -> dict[tuple[int, int], str]:
        found = self._invariants.outputs.items()
        return {(int(level), int(place)): output for (of, level, place), output in found if of == task_key}

    def _redone(self, old: Row) -> set[tuple[int, int]]:
        """Return the gaps, and all merges above them."""
        below = gaps_of(self._invariants, old)
        redone = {(0, place) for place in below}
        for level, ends in enumerate(self._plans(old.task_key), start=1):
            spans = enumerate(pairwise((0, *ends)))
            below = {place for place, (start, end) in spans if below & set(range(start, end))}
            redone |= {(level, place) for place in below}
        return redone

    def _plans(self, task_key: TaskKey) -> list[list[int]]:
        return [json.loads(ends) for (ends,) in self._connection.execute(_PLANS, (task_key,))]

    def _messages(self, old: Row, copied: dict[tuple[int, int], str]) -> set[str]:
        """Return what the calls said whose outputs were copied."""
        (merge_chars,) = self._connection.execute(
            "SELECT merge_chars FROM tasks WHERE id = ?", (old.task_key,)
        ).fetchone()
        texts = {place: text for text, place in self._formed.text(old.task_key).places.items()}
        said = {texts[place] for level, place in copied if not level}
        for level, ends in enumerate(self._plans(old.task_key), start=1):
            for place, (start, end) in enumerate(pairwise((0, *ends))):
                if (level, place) in copied:
                    members = [copied[level - 1, one] for one in range(start, end) if (level - 1, one) in copied]
                    said.add(merge_message(members, merge_chars))
        return said

    def _started(self, call: ModelCall, sender: str) -> None:
        """Judge a call of a retry: nothing is paid for again."""
        self._starting(call, sender)
        row = self._invariants.latest(tag_of(call))
        run = run_of_call()
        is_its_own = run == (row.task_key, row.fence) or (run is None and row.fence == 1)
        if row.task_key not in self._paid or not is_its_own:
            return
        self._invariants.judged[CALLS_JUDGED] += 1
        if call.user in self._paid[row.task_key]:
            loop = self._world.loop
            broken = InvariantBroken(f"{row.task_key}: a call on {sender} pays again for {call.user!r}")
            loop.call_soon(_raise, broken, context=loop.outside)

    def _check_unchanged(self, task_key: TaskKey) -> None:
        now = self._everything(task_key)
        for was, found in zip(self._old[task_key], now, strict=True):
            if was != found:
                raise InvariantBroken(f"{task_key} has completed with gaps, and changed still: {was} became {found}")

    def check(self) -> None:
        """Check that each completed task with gaps is as it was at its end."""
        for task_key in self._old.keys() & self._invariants.rows.keys():
            self._check_unchanged(task_key)
            self._invariants.judged[OLD_JUDGED] += bool(self._made[task_key])


def _raise(error: InvariantBroken) -> None:
    raise error
