"""Defines a task's row as the invariants see it, and which changes of the row are allowed."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from simulator.campaign.subject import featured
from src.kernel.calls.pace import width
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import TRANSITIONS, Status
from src.kernel.store import work_statements
from src.kernel.store.d1 import Statement

CONCURRENCY_MOST = 6
STALLED_MS_LEAST = round(limits.STALL_SECONDS_LEAST * 1000)


class InvariantBroken(AssertionError):
    """Raised when a check fails. The message of `InvariantBroken` says what is broken, and for which task."""


class Row(NamedTuple):
    """The columns of `tasks` that describe a task's state."""

    task_key: TaskKey
    status: str
    reduce: str
    total: int
    completed: int
    failed: int
    fence: int
    holder: str | None
    host: str | None
    lease_until: int | None
    attempts: int
    stalls: int
    stalled_since: int | None
    rest_until: int
    settled: int
    in_doubt: int
    minimum: int
    in_flight: str
    wake_at: int
    error_code: str | None
    started_at: int | None
    deadline_at: int | None
    max_calls: int | None
    structured: str | None
    retry_of: TaskKey | None
    reasks: int
    rejected: int
    repaired: int
    quotes_not_found: int
    coverage: float | None
    kind: str | None

    @property
    def is_batch(self) -> bool:
        """Whether the task's chunks are the lines of a file."""
        return self.kind == "batch"

    @property
    def announced(self) -> int:
        """The number of calls that are announced and neither settled nor in doubt."""
        return 0 if self.in_flight == "[]" else len(json.loads(self.in_flight))

    @property
    def sent(self) -> int:
        """The `usage.modelCalls` of the API: the number of calls that were sent or are about to be sent."""
        return self.settled + self.in_doubt + self.announced

    @property
    def leaves_gaps(self) -> bool:
        """Whether a chunk that fails for good leaves a gap."""
        return self.structured is not None and bool(json.loads(self.structured).get("gaps"))

    @property
    def terminal(self) -> bool:
        """Whether the task has ended."""
        return Status(self.status).terminal

    @property
    def ended_from_outside(self) -> bool:
        """Whether a client or the deadline ended the task, perhaps under a worker that still has results to write."""
        return self.status == "cancelled" or self.error_code == "deadline_exceeded"


UNDER_CLAIM = (
    *("RECORD_OUTPUTS", "RECORD_PIECES", "RECORD_OUTPUTS_BY_CHARS", "RECORD_PIECES_BY_CHARS", "RECORD_CUT"),
    *("RECORD_MERGE", "RECORD_FAILURES", "RECORD_ANSWER_COUNTS"),
    *("EMPTY_INPUT", "FIND_ROOM", "PROGRESS", "RELEASE", "STAND_DOWN", "FINISH", "FAIL", "SETTLE"),
)
_BATCHES_UNDER_CLAIM = ("ADD_SLICE", "READ_ON", "START_LINES", "BEGIN_OUTPUT", "FOUND_VALID")
_CUTS_UNDER_CLAIM = ("NAME_TASK", "CUT_ON", "KEEP_CUTS", "DROP_CHAR_ENDS", "START_CHUNKS")
COLUMNS = (
    "id, status, reduce, total, completed, failed, fence, holder, host, lease_until, attempts, stalls, "
    "stalled_since, rest_until, calls_settled, calls_in_doubt, calls_minimum, in_flight, wake_at, error_code, "
    "started_at, deadline_at, max_calls, structured, retry_of, reasks, rejected, repaired, quotes_not_found, coverage, "
    "kind"
)


def under_claim() -> Iterator[tuple[str, Statement]]:
    """Give the statements that name the claim of a task, with their names."""
    yield from ((name, getattr(work_statements, name)) for name in UNDER_CLAIM)
    if "batches" in featured.NAMES:
        from src.features.batches.store import batch_files, batches

        yield from ((name, getattr(batches, name)) for name in _BATCHES_UNDER_CLAIM)
        yield from (("GROW", one) for one in batch_files.GROW)
    if "texts" in featured.NAMES:
        from src.features.texts import store as file_texts

        yield from ((name, getattr(file_texts, name)) for name in _CUTS_UNDER_CLAIM)


# The name of each transition of a row, by old status, new status and rise of the fence. No other transition may happen.
_KEEP, _RISE = 0, 1
_CHANGES = {
    ("pending", "processing", _RISE): "claim",
    ("processing", "processing", _RISE): "take_over",
    ("processing", "processing", _KEEP): "progress",
    ("processing", "pending", _KEEP): "release",
    ("pending", "pending", _RISE): "resume",
    ("processing", "pending", _RISE): "resume",
    ("processing", "completed", _KEEP): "finish",
    ("processing", "failed", _KEEP): "fail",
    ("pending", "failed", _KEEP): "expire",
    ("pending", "failed", _RISE): "dead_letter",
    ("processing", "failed", _RISE): "dead_letter",
    ("pending", "cancelled", _KEEP): "cancel",
    ("processing", "cancelled", _KEEP): "cancel",
    ("failed", "pending", _RISE): "retry",
    ("cancelled", "pending", _RISE): "retry",
}
# In the states of `_STAYS` a row may change while its status and fence stay: a write is repeated, the sweep postpones
# its check, or a bill is settled.
_STAYS = {"pending", "completed", "failed", "cancelled"}


def transition(before: Row, after: Row) -> str:
    """Return the name of a row's transition, or 'again' if its status and fence stay.

    The name is 'shut_out' if an ended task is taken from its last worker: by the writer of a batch's files, or because
    the worker has not settled its calls in time, which are then in doubt.

    Raises InvariantBroken if the transition is not allowed.
    """
    if before.status == after.status and before.fence == after.fence and after.status in _STAYS:
        return "again"
    rise = after.fence - before.fence
    if before.terminal and before.status == after.status and rise == _RISE:
        doubted = before._replace(in_doubt=before.in_doubt + before.announced, in_flight="[]", fence=after.fence)
        sound = (doubted, before._replace(fence=after.fence)) if after.is_batch else (doubted,)
        _require(after in sound, after, "shut its last worker out, and changed still")
        return "shut_out"
    name = _CHANGES.get((before.status, after.status, rise))
    if name is None or (after.is_batch and name == "retry"):
        raise InvariantBroken(
            f"{after.task_key}: {before.status} at fence {before.fence} became {after.status} at fence {after.fence}"
        )
    known = TRANSITIONS[name]
    assert before.status in known.sources
    assert after.status == known.target
    return name


def check_change(before: Row, after: Row, now_ms: int, max_attempts: int) -> None:
    """Check one change of a task's row against the rules for transitions, bills and terms. Raises InvariantBroken."""
    name = transition(before, after)
    if name == "again" and after.status in {"completed", "failed"} and after.error_code != "deadline_exceeded":
        _require(after._replace(wake_at=0) == before._replace(wake_at=0), after, f"{after.status}, and changed still")
    ran_out = before.lease_until is not None and before.lease_until <= now_ms
    if name == "take_over":
        same_host = bool(before.host) and before.host == after.host
        _require(ran_out or same_host, after, "taken over although its lease was live")
        _require(before.rest_until <= now_ms, after, "taken over before it had rested")
    if name == "dead_letter" and before.status == "processing":
        _require(ran_out, after, "dead-lettered although its lease was live")
        _require(before.rest_until <= now_ms, after, "dead-lettered before it had rested")
    _require(name != "resume" or before.in_flight == after.in_flight == "[]", after, "resumed with calls announced")
    # Announced calls that were too late to start are taken off the bill.
    sound = before.sent - before.announced <= after.sent <= before.sent
    if name == "progress":
        _require(before.holder == after.holder, after, "two holders at one fence")
        fell = f"the bill fell from {before.sent} to {after.sent} calls"
        _require(after.sent >= before.sent - before.announced, after, fell)
        announces = after.in_flight not in {before.in_flight, "[]"}
        _require(not (announces and after.stalls >= max_attempts), after, "goes on after too many crashes in a row")
    elif name == "again" and (after.status == "cancelled" or after.error_code == "deadline_exceeded"):
        # A task that was ended from outside: its last worker settles the bill.
        _require(sound, after, "settled wrongly")
    elif name in {"release", "finish", "fail"}:
        _require(sound, after, f"{name}: the bill went from {before.sent} to {after.sent} calls")
    elif name != "claim" or before.started_at is not None:  # The first claim announces calls.
        _require(after.sent == before.sent, after, f"{name}: the bill went from {before.sent} to {after.sent} calls")
    if name == "finish":
        _check_finish(after)
    _check_terms(name, before, after, now_ms)
    _check_stalls(before, after, now_ms, max_attempts)
    _require(after.completed >= before.completed, after, "fewer chunks are completed than before")
    _require(after.attempts >= before.attempts, after, "attempts fell")
    if after.lease_until is not None and after.lease_until != before.lease_until:
        _require(after.lease_until > now_ms, after, "its lease was over when it was written")


def _check_finish(after: Row) -> None:
    done = after.completed + (after.failed if after.leaves_gaps or after.is_batch else 0)
    some = after.completed > 0 or (after.is_batch and after.total > 0)
    _require(done == after.total and some, after, "completed without all chunks")
    _require(after.in_flight == "[]", after, "completed with calls in flight")


def _check_terms(name: str, before: Row, after: Row, now_ms: int) -> None:
    """Check a change of a task's row against the client's terms.

    `checks/invariants.py` checks the calls that reach the model against the budget.
    """
    deadline = before.deadline_at
    in_time = deadline is None or now_ms < deadline
    if name in {"claim", "take_over"} or (name == "progress" and set(_calls(after)) - set(_calls(before))):
        _require(in_time, after, f"{name} after its deadline")
    _require(name != "finish" or in_time, after, "completed after its deadline")
    if after.error_code == "deadline_exceeded" != before.error_code:
        _require(deadline is not None and not in_time, after, "failed by its deadline before it")
    _require(name == "retry" or after.deadline_at == deadline, after, "its deadline moved")
    _require(after.max_calls is None or after.sent <= after.max_calls, after, f"{after.sent} calls on the bill")


def _check_stalls(before: Row, after: Row, now_ms: int, max_attempts: int) -> None:
    """Check that a task whose workers die has fewer and fewer calls in flight.

    The task may fail by its crashes only when ten minutes have passed since its first worker died.
    """
    if after.status == "processing" and after.stalls:
        most = width(after.stalls, max_attempts, CONCURRENCY_MOST)
        _require(after.announced <= most, after, f"{after.announced} calls in flight after {after.stalls} crashes")
    if after.error_code == "worker_crashed" != before.error_code:
        assert before.stalled_since is not None
        passed = now_ms - before.stalled_since
        _require(passed >= STALLED_MS_LEAST, after, f"failed by crashes {passed} ms after the first of them began")


def _calls(row: Row) -> list[tuple[int, int]]:
    return [] if row.in_flight == "[]" else [tuple(pair) for pair in json.loads(row.in_flight)]


def _require(holds: bool, row: Row, what: str) -> None:
    if not holds:
        raise InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")
