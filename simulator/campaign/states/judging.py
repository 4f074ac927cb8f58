"""Checks each change of the database and each end, with the campaign's own checks."""

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from simulator.campaign.checks.batches.endings import BATCHES, BatchRow, Endings
from simulator.campaign.checks.end_checks import Circumstances, check_task
from simulator.campaign.checks.orphans import check_orphans
from simulator.campaign.checks.recorded import OutputKey, Recorded
from simulator.campaign.checks.writes import check_counts, check_fences, check_outputs
from simulator.campaign.states.programs import Models
from simulator.campaign.states.tables import Effect, Tables
from simulator.campaign.subject.row_changes import COLUMNS, InvariantBroken, Row, check_change, under_claim
from simulator.campaign.subject.small_limits import MAX_ATTEMPTS
from src.kernel.domain.ids import TaskKey
from src.kernel.store import admission, ending, sweep
from src.kernel.store.tallies import UNCOUNTED

_ANSWERS = ("ok", "5xx", "refused")
_REFUSED = "SELECT DISTINCT task_id FROM failures WHERE final = 1 AND gap_chars IS NULL"

# The calls of ended tasks that are in the sums, or will be after the next fold.
_COUNTED = f"""SELECT (SELECT coalesce(sum(calls), 0) FROM tallies WHERE at = 0) + (
  SELECT coalesce(sum(calls_settled + calls_in_doubt - coalesce(counted ->> 0, 0)), 0) FROM tasks WHERE {UNCOUNTED})"""  # noqa: S608 - constants


@dataclass(slots=True)
class Facts:
    """What the checks know of one content of the database."""

    rows: dict[TaskKey, Row]
    outputs: dict[OutputKey, str]
    lines: dict[TaskKey, list[str]]
    refused: set[TaskKey]
    generation: int  # Of the only task; 0 if it is gone.
    batches: dict[TaskKey, BatchRow]
    unwritten: bool  # Whether a batch has not ended.


@dataclass(slots=True)
class TaskEnd:
    """What the campaign's checks at the end ask of `Invariants`, for one task."""

    tags: dict[TaskKey, str]
    reached: Counter[str]
    answers: dict[str, Counter[tuple[str, str]]]
    forfeited: Counter[TaskKey]
    retries: Counter[TaskKey]
    inputs: dict[TaskKey, str]
    outputs: dict[OutputKey, str]
    rows: dict[TaskKey, Row]
    world: Any
    judged: Counter[str] = field(default_factory=Counter)
    own_failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    cut_by_poll: set[TaskKey] = field(default_factory=set)

    def sent(self, tag: str) -> int:
        return sum(row.sent for task_key, row in self.rows.items() if self.tags[task_key] == tag)


def _is_overdue(row: Row, now_ms: int) -> bool:
    return row.deadline_at is not None and row.deadline_at <= now_ms


class Judge:
    """Checks the contents of one search's tables."""

    KEPT = ("_facts",)

    def __init__(self, tables: Tables, text: str) -> None:
        self._tables = tables
        self._text = text
        servers = SimpleNamespace(bucket=SimpleNamespace(objects={}))
        world: Any = SimpleNamespace(
            database=SimpleNamespace(connection=tables.connection, observers=[]), servers=servers
        )
        self.world = world
        self._recorded = Recorded(self.world)
        self._under_claim = {one.sql: (name, one.parameters) for name, one in under_claim()}
        self._erases = {ending.ERASE[-1].sql, admission.WITHDRAW.sql}
        self._expires = sweep.ERASE_EXPIRED[-1].sql
        self._facts: dict[int, Facts] = {}

    def facts(self, content: int) -> Facts:
        """Read a content."""
        if (known := self._facts.get(content)) is not None:
            return known
        self._tables.load(content)
        return self._read(content, {})

    def _read(self, content: int, lines: dict[TaskKey, list[str]]) -> Facts:
        execute = self._tables.connection.execute
        found = {row[0]: Row._make(row) for row in execute(f"SELECT {COLUMNS} FROM tasks")}  # noqa: S608 - constants
        generations = dict(execute("SELECT id, generation FROM tasks").fetchall())
        self._recorded.lines, self._recorded._seen = dict(lines), []
        outputs = self._recorded.read() or {}
        refused = {task_key for (task_key,) in execute(_REFUSED)}
        generation = max(generations.values(), default=0)
        batches = {row[0]: BatchRow(*row) for row in execute(BATCHES)}
        unwritten = any(row.ended_at is None for row in batches.values())
        facts = Facts(found, outputs, dict(self._recorded.lines), refused, generation, batches, unwritten)
        return self._facts.setdefault(content, facts)

    def check_change(self, before: int, call: int, effect: Effect, now_ms: int) -> None:
        """Check what a call to the database has done, whose content is loaded. Raises InvariantBroken."""
        was = self.facts(before)
        self._tables.load(effect.after)
        now = self._facts.get(effect.after) or self._read(effect.after, was.lines)
        statements = self._tables.calls[call]
        if any(effect.changes):
            check_fences(self._under_claim, statements, effect.changes, was.rows)
        for task_key, row in now.rows.items():
            if (old := was.rows.get(task_key)) is not None and old != row:
                check_change(old, row, now_ms, MAX_ATTEMPTS)
                if task_key in now.refused and row.sent > old.sent:
                    raise InvariantBroken(f"{task_key}: calls were announced after one had failed for good")
            elif old is None and (row.status, row.fence, row.sent) != ("pending", 0, 0):
                raise InvariantBroken(f"{task_key} came into the world {row.status}")
        asked = {values[0] for sql, values in statements if sql in self._erases}
        for task_key in was.rows.keys() - now.rows.keys():
            row = was.rows[task_key]
            if task_key not in asked and (not row.terminal or row.wake_at > now_ms):
                raise InvariantBroken(f"{task_key} ({row.status}) was erased, without a request")
            check_orphans(self._tables.connection)
        check_outputs(was.outputs, now.outputs, now.rows)
        if was.batches or now.batches:
            self._check_batches(was, now)
        exact = {} if now.generation else now.rows  # a cancelled task's outputs stay, and a retry does not count them
        check_counts(now.outputs, exact, lambda row: not (row.ended_from_outside or _is_overdue(row, now_ms)))

    def _check_batches(self, was: Facts, now: Facts) -> None:
        """Check the step of a batch, and at its end its files."""
        endings = Endings(self.world, now.lines, Counter())
        endings.rows = was.batches
        for task_key in now.batches:
            endings.born(task_key)
        endings.written()
        self.world.database.observers.clear()

    def check_end(
        self, content: int, calls: tuple[int, ...], models: Models, disturbed: frozenset[str], *, operated: bool
    ) -> None:
        """Check an ended task, whose programs are over, after these model calls. Raises InvariantBroken."""
        self._tables.load(content)
        facts = self.facts(content)
        counted = self._tables.connection.execute(_COUNTED).fetchone()[0]
        billed = sum(row.settled + row.in_doubt for row in facts.rows.values())
        if facts.rows and counted != billed:
            raise InvariantBroken(f"{counted} calls are counted, and {billed} are on the bills")
        for task_key, row in facts.rows.items():
            tag = "task"
            answers = Counter((models.calls[made // 3].user, _ANSWERS[made % 3]) for made in calls)
            known: Any = TaskEnd(
                {task_key: tag},
                Counter({tag: len(calls)}),
                {tag: answers},
                Counter({task_key: int(operated)}),
                Counter({task_key: facts.generation}),
                {task_key: self._text},
                facts.outputs,
                facts.rows,
                self.world,
            )
            check_task(known, self.world, row, Circumstances(disturbed, operated=operated))
