"""Checks every task of a run once faults have stopped and all tasks have ended."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.campaign.checks.disturbances import CRASHES, DOUBTFUL, LATE_TO_HEAR, MODEL
from simulator.campaign.checks.formed import FORM_CODES, reasks_most
from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.checks.results import Require, check_result
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.campaign.subject.small_limits import MAX_ATTEMPTS
from simulator.engine.fault_kinds import CPU_LIMIT, MODEL_AWAY, POISONED, STORAGE
from simulator.platform.model import AWAY_SECONDS
from simulator.platform.world import World
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.store import rows, views

# The error codes of failures of the model service.
OF_SERVICE = frozenset({"model_unavailable", "model_timeout", "model_connection_lost"})
FAILURE_ANSWERS = ("hang", "5xx", "reply lost", "malformed")


TASKS_JUDGED = "tasks that were to bear a model that was away"
DOUBTS_JUDGED = "tasks that may have no call in doubt"
DOUBTS_EXCUSED = f"{DOUBTS_JUDGED}, excused for a stream that its client left, or a call that outlasted its poll"
_CHUNKS = ("part", "body")  # the columns of `views.CHUNKS`
_FAILED_CHUNKS = ("idx", "calls", "code", "message", "retryable", "rung", "gap")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The faults of a run and the interventions of its clients and operators, on which the checks depend."""

    fired: frozenset[str]
    # True if isolates may have died by a deployment, a restart or a planned crash, or if a client cancelled, retried
    # or erased a task.
    operated: bool
    patience_seconds: float = 0.0  # How many seconds the tasks of a run wait for a model that is away.
    # The tasks whose stream of events a client left before the stream's end. The invocation of a stream may make the
    # calls of a task that no trigger comes for. The platform ends the model calls of a stream's invocation soon after
    # the client has left, and these calls stay in doubt.
    left: frozenset[TaskKey] = frozenset()
    killed: bool = False  # True if isolates died by deployments or restarts.

    @property
    def patient(self) -> bool:
        """Whether tasks wait for a model that is away."""
        return self.patience_seconds > 0

    @property
    def bears_it(self) -> bool:
        """Whether tasks wait for longer than any absence of the model lasts."""
        return self.patience_seconds > max(AWAY_SECONDS)

    @property
    def crashed(self) -> bool:
        """Whether a worker may have died or lost its claim."""
        return self.operated or bool(self.fired & CRASHES)

    @property
    def certain(self) -> bool:
        """Whether the Worker knows the outcome of every model call."""
        return not self.crashed and not self.fired & (DOUBTFUL | {MODEL_AWAY})

    @property
    def smooth(self) -> bool:
        """Whether no model call can have failed."""
        return self.certain and not self.fired & MODEL


_LOST = """SELECT 1 FROM failures WHERE task_id = ? AND final = 1 AND code = 'model_connection_lost' AND (
  message LIKE 'the poll that made the call%' OR message LIKE 'the lane that made the call%'
  OR message LIKE 'whoever was to make the call%')"""


def check_task(invariants: Invariants, world: World, row: Row, circumstances: Circumstances) -> None:
    """Check one task against all promises of the Worker. Raises InvariantBroken."""
    tag = invariants.tags[row.task_key]
    reached = invariants.reached[tag]

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"{row.task_key} ({row.status} {row.error_code or ''}, fence {row.fence}): {what}")

    require(row.terminal, "lost: it has not ended")
    doubt = row.in_doubt + row.announced
    forfeited = invariants.forfeited[row.task_key]
    # A request with an idempotency key can become a second task after its first task is gone. The model's records do
    # not tell the first task and the second task of a request apart.
    others = invariants.sent(tag) - row.sent
    require(
        row.sent - doubt <= reached <= row.sent + others,
        f"miscounted: {reached} calls reached the model, {row.sent} are billed, {doubt} of them in doubt",
    )
    lasting = row.task_key not in circumstances.left | invariants.cut_by_poll
    certain = circumstances.certain and not forfeited and lasting
    if circumstances.certain and not forfeited:
        invariants.judged[DOUBTS_JUDGED if certain else DOUBTS_EXCUSED] += 1
    if certain:
        require(doubt == 0, f"{doubt} calls in doubt, and nothing happened that casts doubt")
    if row.status == "completed":
        if not row.is_batch:
            check_result(invariants, world, row, require)
        if certain and circumstances.smooth and not invariants.retries[row.task_key]:
            require(row.sent == row.minimum, f"{row.sent} calls where {row.minimum} do")
    if row.status == "failed":
        _check_failure(invariants, row, circumstances, require)
    ((kept,),) = world.database.connection.execute("SELECT input FROM texts WHERE task_id = ?", (row.task_key,))
    # A task with gaps keeps its input, so that the gaps can be retried.
    whole = (row.status == "completed" and not row.failed) or row.kind == "file"
    require(kept == ("" if whole else invariants.inputs[row.task_key]), "its input is not as it was")
    if not row.is_batch:  # the lines of a batch are in its files: see `batches.endings`
        _check_chunks(world, row, require)
    _check_repetitions(invariants, row, tag, doubt + others, circumstances, require)


def _check_chunks(world: World, row: Row, require: Require) -> None:
    """Check that a client sees no chunk twice, as finished or failed.

    In a completed task each chunk must have an output or be a gap, and no call but those of gaps may have failed for
    good.
    """
    execute = world.database.connection.execute
    done, failures = (
        [dict(zip(columns, found, strict=True)) for found in execute(query.sql, query.values)]
        for columns, query in (
            (_CHUNKS, views.CHUNKS.bind(task_key=row.task_key, most_chars=limits.ANSWER_CHARS_AT_ONCE)),
            (_FAILED_CHUNKS, views.FAILED_CHUNKS.bind(task_key=row.task_key)),
        )
    )
    shown = [output.key.position for output in rows.outputs(0, done)] + [failure["idx"] for failure in failures]
    require(len(set(shown)) == len(shown), f"chunks are shown twice: {sorted(shown)}")
    (failed, gaps) = execute(
        "SELECT count(*), count(gap_chars) FROM failures WHERE task_id = ? AND final = 1", (row.task_key,)
    ).fetchone()
    require(row.status != "completed" or failed == gaps, f"completed, and {failed - gaps} calls failed for good")
    require(row.status != "completed" or gaps == row.failed, f"completed with {gaps} gaps, and says {row.failed}")
    require(row.status != "completed" or len(shown) == row.total, f"completed, and shows {len(shown)} of {row.total}")


def _check_budget(invariants: Invariants, row: Row, require: Require) -> None:
    """Check that a task that ran out of its budget, or its cap, has used it, and not more."""
    if row.error_code == "cost_exhausted":
        query = "SELECT coalesce(cost, 0) + cost_in_doubt, max_cost FROM tasks WHERE id = ?"
        spent, cap = invariants.world.database.connection.execute(query, (row.task_key,)).fetchone()
        require(cap is not None and spent <= cap, f"failed after it spent {spent} of {cap}")
        return
    too_few = row.kind == "file" and row.max_calls is not None and not row.sent and row.max_calls < row.minimum
    require(row.sent == row.max_calls or too_few, f"failed after {row.sent} of {row.max_calls} calls")


def _check_failure(invariants: Invariants, row: Row, circumstances: Circumstances, require: Require) -> None:
    """Check that a failed task has a cause outside the Worker."""
    answers: Counter[str] = Counter()
    for (_text, answer), count in invariants.answers[invariants.tags[row.task_key]].items():
        answers[answer] += count
    code = row.error_code
    if code == "deadline_exceeded":
        # `check_change` checks at which moment the task may fail.
        require(row.deadline_at is not None, "failed by a deadline that it has not")
    elif code in {"budget_exhausted", "cost_exhausted"}:
        _check_budget(invariants, row, require)
    elif code in {"invalid_batch", "invalid_input", "input_missing"}:
        is_lost = code == "input_missing" and bool(invariants.world.servers.bucket.elsewhere)
        is_wrong = invariants.endings.is_faulty(row.task_key) or _is_unpriced(invariants, row)
        require(is_lost or is_wrong, "its file is valid, and in the bucket")
    elif code in {"dead_lettered", "worker_crashed"}:
        # Each slice fits the limit of CPU time, so a run that dies in a later one has recorded something.
        may_have_died = circumstances.killed or bool(circumstances.fired & (CRASHES - {CPU_LIMIT}))
        require(code == "dead_lettered" or may_have_died, "failed by a crash, and clients alone interfered")
        full_only = not circumstances.operated and not circumstances.fired & (CRASHES - {STORAGE})
        require(circumstances.crashed and not full_only, "failed by a crash, and nothing crashed")
    elif code in {"model_refused", "model_misconfigured"}:
        require(answers["refused"] > 0, "refused by a model that refused nothing")
    elif code in FORM_CODES:
        require(_explains(invariants, row, answers), f"{code} after {dict(answers)}")
    elif code == "model_rate_limited":
        require(answers["429"] > 100, "gave up waiting too early")
    else:
        if circumstances.bears_it and code in OF_SERVICE:
            _check_own_failures(invariants, row, circumstances, require)
        unheard = circumstances.crashed or bool(circumstances.fired & {"model_unreachable", MODEL_AWAY})
        failures = sum(answers[answer] for answer in FAILURE_ANSWERS)
        slow = "model_slow" in circumstances.fired
        require(failures >= MAX_ATTEMPTS or unheard or slow, f"{code} after {failures} failures")


def _is_unpriced(invariants: Invariants, row: Row) -> bool:
    """Whether all that a batch's file lacks is prices, which lines need once the tenant has a cap."""
    query = "SELECT coalesce(max(errors), '[]') FROM batches WHERE task_id = ?"
    (errors,) = invariants.world.database.connection.execute(query, (row.task_key,)).fetchone()
    return {error["code"] for error in json.loads(errors)} == {"no_price"}


def _lasted_seconds(invariants: Invariants, row: Row) -> float:
    query = "SELECT (finished_at - created_at) / 1000.0 FROM tasks WHERE id = ?"
    (seconds,) = invariants.world.database.connection.execute(query, (row.task_key,)).fetchone()
    return float(seconds)


def _check_own_failures(invariants: Invariants, row: Row, circumstances: Circumstances, require: Require) -> None:
    """Check that a task did not fail because its model was away.

    While the model was there, one call of the failed task must have failed often enough.

    One of the failures that counted against the call may belong to a call that was in flight when the model came back.
    A call also counts as a failure, and is in doubt, if its lane is lost or if it outlasts the poll that makes it. If
    no other chunk succeeds, a chunk of a poisoned text fails at the end of the task's patience.
    """
    if POISONED in circumstances.fired and _lasted_seconds(invariants, row) >= circumstances.patience_seconds:
        return
    tag = invariants.tags[row.task_key]
    own = max((count for (of, _), count in invariants.own_failures.items() if of == tag), default=0)
    lost = invariants.world.database.connection.execute(_LOST, (row.task_key,)).fetchone() is not None
    if lost:
        own += row.in_doubt
    most = MAX_ATTEMPTS if lost else limits.FAILURES_COUNTED_MOST
    least = most - 1 if not circumstances.crashed else 0 if circumstances.fired & LATE_TO_HEAR else 1
    require(own >= least, f"{row.error_code}: {own} failures of a call, the model being there, and patience goes on")


def _check_repetitions(
    invariants: Invariants, row: Row, tag: str, spare: int, circumstances: Circumstances, require: Require
) -> None:
    """Check the calls for each text: no more failures than attempts, and one output, except for calls in doubt.

    If tasks wait for a model that is away, this function does not limit their failures; `_check_own_failures` does.
    """
    heard: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for (text, answer), count in invariants.answers[tag].items():
        if answer == "ok":
            heard[text] += count
        elif answer in FAILURE_ANSWERS:
            failed[text] += count
    rounds = 1 + invariants.retries[row.task_key]
    for count in failed.values() if not circumstances.patient else ():
        require(count <= MAX_ATTEMPTS * rounds + spare, f"{count} failed calls for one text")
    repeated = sum(count - 1 for count in heard.values() if count > 1)
    require(repeated <= spare, f"{repeated} finished calls were made again")


def _explains(invariants: Invariants, row: Row, answers: Mapping[str, int]) -> bool:
    """Whether the model's answers, and a task's gaps, explain that it failed with a code of its form."""
    if row.error_code == "too_many_gaps":
        assert row.structured is not None
        most = json.loads(row.structured).get("max_gap_share", 0.5)
        return row.coverage is not None and 1 - row.coverage > most - 1e-9
    if row.error_code == "output_truncated":
        return answers["cut"] > 0
    return answers["unfit"] > reasks_most(invariants.world)
