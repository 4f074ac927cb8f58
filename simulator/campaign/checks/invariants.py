"""Checks each write and each model call of a world against accounts that this module keeps itself.

The module compares every transaction and every model call with the state before it. A broken invariant raises at once,
at the write or call that broke it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from simulator.campaign.checks.batches.endings import Endings
from simulator.campaign.checks.client_promises import ClientPromises, tag_of
from simulator.campaign.checks.costs import Costs
from simulator.campaign.checks.custody import Custody
from simulator.campaign.checks.fullness import Fullness
from simulator.campaign.checks.lateness import Lateness
from simulator.campaign.checks.letting_go import LettingGo
from simulator.campaign.checks.nudges import Nudges
from simulator.campaign.checks.orphans import check_orphans
from simulator.campaign.checks.patience import Probes
from simulator.campaign.checks.progress import WriteBudget
from simulator.campaign.checks.recorded import OutputKey, Recorded
from simulator.campaign.checks.tallied import Tallied
from simulator.campaign.checks.tenant_limits import TenantLimits
from simulator.campaign.checks.writes import check_counts, check_fences, check_outputs
from simulator.campaign.subject.row_changes import COLUMNS, InvariantBroken, Row, check_change, under_claim
from simulator.engine.fault_kinds import KINDS
from simulator.platform.binding_port import Reply
from simulator.platform.d1 import PreparedStatement
from simulator.platform.world import World
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain.ids import TaskKey
from src.kernel.store import admission, ending, work_statements

Results = list[dict[str, Any]]
_OWN_FAILURES = tuple(kind.name for kind in KINDS.values() if kind.number == 15 and kind.name != "model_rate_limited")
_REFUSED = "SELECT DISTINCT task_id FROM failures WHERE final = 1 AND gap_chars IS NULL"  # a gap ends no task
_CUT_BY_POLL = "SELECT DISTINCT task_id FROM failures WHERE message LIKE 'the poll that made the call%'"


class Invariants:
    """Follows one world task by task, and checks that each change was allowed.

    The model knows a task by its tag, which is the task's `instructions`.
    """

    def __init__(self, world: World, *, max_attempts: int, told: bool = False) -> None:
        self.rows: dict[TaskKey, Row] = {}
        self.gone: dict[TaskKey, Row] = {}
        self.expired: set[TaskKey] = set()
        # By a request's tag: the tasks that the request became, in order.
        self.born: dict[str, list[TaskKey]] = defaultdict(list)
        self.tags: dict[TaskKey, str] = {}
        self.inputs: dict[TaskKey, str] = {}
        self.holders: dict[str, TaskKey] = {}  # Tasks by `submission`: tenant and idempotency key.
        self.reached: Counter[str] = Counter()  # The number of calls that reached the model, by tag.
        self.answers: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)  # By tag: counts of (text, answer).
        self.forfeited: Counter[TaskKey] = Counter()  # Calls in flight when a client or deadline ended the task.
        self.retries: Counter[TaskKey] = Counter()
        self.outputs: dict[OutputKey, str] = {}
        self._offset_ms_most = 0.0  # The most milliseconds by which the database's clock was ahead of true time.
        self._refused: set[TaskKey] = set()  # Tasks with a call on record that failed for good.
        self.cut_by_poll: set[TaskKey] = set()  # Tasks with a call that a poll made, and that outlasted the poll.
        self.writes = 0
        self.recorded = Recorded(world)
        self._max_attempts = max_attempts
        self.world = world
        self._connection = world.database.connection
        self._under_claim = {one.sql: (name, one.parameters) for name, one in under_claim()}
        self._tell_failures = {work_statements.RECORD_FAILURES.sql, admission.RETRY_FAILURES.sql}
        self._withdraws = admission.WITHDRAW.sql
        self._nudges = Nudges(self._connection)
        self._erases = {ending.ERASE[-1].sql, self._withdraws}
        self.judged: Counter[str] = Counter()  # By name: how many cases a check with exceptions has judged.
        self.endings = Endings(world, self.recorded.lines, self.judged)
        self.wishes: dict[TaskKey, str] = {}  # By task: the name of its request, which is its tag unless it is a batch.
        self.made: dict[str, list[TaskKey]] = defaultdict(list)  # By this name: the tasks that the request became.
        self.own_failures: Counter[tuple[str, str]] = Counter()  # Failures by tag and text while the model is not away.
        self.promises = ClientPromises(world, self)
        self.custody = Custody(world, self)
        self.letting_go = LettingGo(world, self.judged, told=told)
        self.lateness = Lateness(world)
        self.tallied = Tallied(world)
        self.costs = Costs(world, self.judged)
        self.tenant_limits = TenantLimits(world.variables)
        self.progress = WriteBudget(short_runs=True)
        self.fullness = Fullness(world)
        self.probes = Probes(world, self.judged)
        self._tags_given = 0
        self._execute = world.database.execute
        self._serve = world.model.serve
        world.database.execute = self._executed  # type: ignore[method-assign]
        world.model.serve = self._served  # type: ignore[method-assign]

    def new_tag(self) -> str:
        """Make the tag of the next request, by which the model's records identify it."""
        self._tags_given += 1
        return f"T{self._tags_given}"

    # --- writes -----------------------------------------------------------------------------------------

    def _executed(self, statements: Sequence[PreparedStatement]) -> list[dict[str, Any]]:
        before = self._connection.total_changes
        now_ms = self.world.database.now_ms()
        self.promises.look_at_clock()
        results = self._execute(statements)
        if self._connection.total_changes != before:
            self.writes += 1
            self._check_fences(statements, results)
            self._nudges.landed(statements, results, self.rows, now_ms)
            self._check_rows(statements, now_ms)
            self.progress.landed(statements, results, self.world.loop.now())
            self._check_outputs(now_ms)
            self.tallied.landed()
            self.costs.landed()
        self.lateness.landed(statements)
        return results

    def _check_fences(self, statements: Sequence[PreparedStatement], results: Results) -> None:
        bound = [(statement.sql, statement.values) for statement in statements]
        check_fences(self._under_claim, bound, [result["meta"]["changes"] for result in results], self.rows)

    def _check_rows(self, statements: Sequence[PreparedStatement], now_ms: int) -> None:
        found = self._connection.execute(f"SELECT {COLUMNS} FROM tasks").fetchall()  # noqa: S608 - constants
        if any(statement.sql in self._tell_failures for statement in statements):
            self._refused = {task_key for (task_key,) in self._connection.execute(_REFUSED)}
            self.cut_by_poll.update(task_key for (task_key,) in self._connection.execute(_CUT_BY_POLL))
        before = self.rows
        rows: dict[TaskKey, Row] = {}
        grown = False
        for values in found:
            known = before.get(values[0])
            rows[values[0]] = known if known is not None and known == values else Row._make(values)
        for task_key, row in rows.items():
            was = before.get(task_key)
            if was is None:
                self._born(row, now_ms)
                grown = True
            elif was is not row:
                grown |= self._changed(was, row, now_ms)
                self.lateness.changed(was, row, now_ms, statements)
        if len(rows) < len(before) or before.keys() - rows.keys():
            self._went(before.keys() - rows.keys(), statements, now_ms)
        self.rows = rows
        if grown:
            self.tenant_limits.grown(rows.values())

    def _changed(self, was: Row, row: Row, now_ms: int) -> bool:
        """Check a change of a task's row.

        `_changed` returns whether the change gives the tenant one more unfinished task.
        """
        check_change(was, row, now_ms, self._max_attempts)
        self.progress.changed(was, row)
        self.tallied.changed(was, row)
        if row.task_key in self._refused and row.sent > was.sent:
            raise InvariantBroken(f"{row.task_key}: calls were announced after one had failed for good")
        if row.status == "processing" and row.fence != was.fence:
            self.promises.claimed(row.task_key)
        if was.terminal and row.terminal and row.fence > was.fence:
            self.endings.shut_out(was)
        if row.ended_from_outside and not was.terminal:
            self.forfeited[row.task_key] += was.announced
            self.letting_go.ended(row.task_key)
        elif row.status == "pending" and was.terminal:
            self.retries[row.task_key] += 1
            self.promises.put_back(row.task_key)
            return True
        return False

    def _born(self, row: Row, now_ms: int) -> None:
        if row.task_key in self.gone:
            raise InvariantBroken(f"{row.task_key} is back after it was erased")
        if (row.status, row.fence, row.sent) != ("pending", 0, 0):
            raise InvariantBroken(f"{row.task_key} came into the world {row.status}")
        tag, key, text = self._connection.execute(
            "SELECT instructions, submission, input FROM texts WHERE task_id = ?", (row.task_key,)
        ).fetchone()
        text = self.inputs[row.task_key] = self.endings.texts.born(row.task_key) if row.kind == "file" else text
        wish, characters, is_copy = tag, len(text), row.retry_of is not None
        if row.is_batch:
            new = self.endings.born(row.task_key)
            tag, wish, is_copy, characters = new.lines.tag, new.wish, new.is_retry, new.size
        self.tenant_limits.accepted(row.task_key, 0 if row.retry_of is not None else characters, now_ms)
        twice = not is_copy and wish in self.made and (key is None or self.made[wish][-1] not in self.gone)
        self.promises.told["doubled"] += twice
        if twice and not self.promises.may_be_doubled(wish, key):
            raise InvariantBroken(f"{row.task_key}: request {wish} was taken twice, as {self.made[wish][-1]} before")
        if key is not None:  # An idempotency key is free again after a day, and no run lasts that long.
            if self.holders.get(key, row.task_key) not in {row.task_key, *self.gone}:
                raise InvariantBroken(f"{row.task_key}: accepted under a key that {self.holders[key]} has")
            self.holders[key] = row.task_key
        self.promises.born(row.task_key, wish)
        self.born[tag].append(row.task_key)
        self.made[wish].append(row.task_key)
        self.tags[row.task_key], self.wishes[row.task_key] = tag, wish

    def _went(self, task_keys: Iterable[TaskKey], statements: Sequence[PreparedStatement], now_ms: int) -> None:
        asked = {statement.values[0] for statement in statements if statement.sql in self._erases}
        withdrawn = {statement.values[0] for statement in statements if statement.sql == self._withdraws}
        for task_key in withdrawn:
            self.tenant_limits.taken_back(task_key)
        for task_key in task_keys:
            row = self.gone[task_key] = self.rows[task_key]
            self.letting_go.ended(task_key)
            self.tallied.erased(row, withdrawn=task_key in withdrawn)
            if task_key in withdrawn:
                self.promises.taken_back(task_key)
            if task_key in asked:
                continue
            if not row.terminal or row.wake_at > now_ms:
                raise InvariantBroken(f"{task_key} ({row.status}) was erased, and nobody asked for it")
            self.expired.add(task_key)
        check_orphans(self._connection)

    def _check_outputs(self, now_ms: int) -> None:
        found = self.recorded.read()
        if found is None:
            return
        check_outputs(self.outputs, found, self.rows)
        self._check_counts(found, now_ms)
        self.outputs = found

    def _check_counts(self, found: dict[OutputKey, str], now_ms: int) -> None:
        # The database's clock may have been set back since a worker read how much time its task has left.
        offset_ms = self.world.database.offset_ms
        self._offset_ms_most = max(self._offset_ms_most, offset_ms)
        workers_ms = now_ms - offset_ms + self._offset_ms_most

        def is_exact(row: Row) -> bool:
            # After a task's deadline its outputs are still recorded, but its totals are written only with its end.
            overdue = row.deadline_at is not None and row.deadline_at <= workers_ms
            return not self.forfeited[row.task_key] and not row.ended_from_outside and not overdue

        check_counts(found, self.rows, is_exact)

    # --- calls ------------------------------------------------------------------------------------------

    def _served(self, call: ModelCall, sender: str, reply: Reply) -> None:
        records = self.world.model.records
        before, tag, failures = len(records), tag_of(call), self._model_failures()
        self._serve(call, sender, self.costs.counted(call, tag, reply))
        self.own_failures[tag, call.user] += self._model_failures() > failures
        if not self.is_doubled(tag):
            row = self.latest(tag)
            self.probes.called(row.task_key, self.retries[row.task_key], row.total)
        if len(records) == before:  # The call's connection failed before the model got the call.
            return
        self.reached[tag] += 1
        self.answers[tag][call.user, records[-1].answer] += 1
        row = self.latest(tag)
        task_key = row.task_key
        self.fullness.called(task_key)
        if self.reached[tag] > self.sent(tag):
            raise InvariantBroken(
                f"{task_key} ({row.status}, fence {row.fence}): call {self.reached[tag]} reached the model, "
                f"{row.sent} are on the bill"
            )
        if row.max_calls is not None and self.reached[tag] > row.max_calls * len(self.born[tag]):
            raise InvariantBroken(f"{task_key}: {self.reached[tag]} calls reached the model, {row.max_calls} may")

    def is_doubled(self, tag: str) -> bool:
        """Whether a tag has more than one task, except for retries of gaps and of batches.

        See `ClientPromises.may_be_doubled`.
        """
        there = [self.rows[task_key] for task_key in self.born[tag] if task_key in self.rows]
        shared = len({self.wishes[task_key] for task_key in self.born[tag]}) > 1  # several batches over one file
        return shared or sum(row.retry_of is None and not row.is_batch for row in there) > 1

    def _model_failures(self) -> int:
        """Return how often the model has failed or was slow so far, apart from its absences."""
        tallies = self.world.faults.tallies
        return sum(tallies[name].fired for name in _OWN_FAILURES)

    def latest(self, tag: str) -> Row:
        """Return the task of a tag, the newest if several had its key, in its last state if the task is gone."""
        return self.tasks(tag)[-1]

    def tasks(self, tag: str) -> list[Row]:
        """Return all tasks of a tag, retries of gaps too, those that are gone in their last state."""
        return [self.rows.get(task_key) or self.gone[task_key] for task_key in self.born[tag]]

    def sent(self, tag: str) -> int:
        """Return how many calls are on the bills of all tasks of a tag."""
        return sum(row.sent for row in self.tasks(tag))
