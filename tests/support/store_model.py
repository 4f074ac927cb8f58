"""The store as a few dicts: what `store.tasks` promises of each transition, in plain Python and without SQL.

Every method names the time by `now`, as the database does, and returns what the store's method returns, reduced to
plain values. It is written from the contracts, so that store and model can only agree by both being right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.core.limits import SWEEP_BACKOFF_DOUBLINGS_MOST
from src.core.states import Status
from src.core.task import Failure, Reduce
from src.store.claims import CallKey, Continue, Due, Fail, FailedCall, Finish, Progress, Release, Standing, Step

EARLY_MS = 1_000


@dataclass(slots=True)
class ModelTask:
    """One task. The names are the columns'."""

    reduce: Reduce
    total: int
    created_at: int
    wake_at: int
    route: str
    calls_minimum: int
    status: Status = Status.PENDING
    completed: int = 0
    failed: int = 0
    fence: int = 0
    holder: str | None = None
    host: str | None = None
    lease_until: int | None = None
    attempts: int = 0
    stalls: int = 0
    rate_waits: int = 0
    calls_settled: int = 0
    calls_in_doubt: int = 0
    in_flight: list[CallKey] = field(default_factory=list)
    doubted: list[CallKey] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    failure: Failure | None = None
    dispatches: int = 0
    not_before: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    outputs: dict[CallKey, tuple[str, int]] = field(default_factory=dict)
    failures: dict[CallKey, FailedCall] = field(default_factory=dict)

    def is_live(self, now: int) -> bool:
        """Whether somebody holds a lease that has not run out."""
        return self.lease_until is not None and self.lease_until > now

    def is_idle(self, now: int) -> bool:
        """Whether it has not ended and nobody works on it."""
        return self.status is Status.PENDING or (self.status is Status.PROCESSING and not self.is_live(now))

    def let_go(self) -> None:
        """Nobody holds it any more."""
        self.holder = self.host = self.lease_until = None

    def doubt(self) -> None:
        """Nobody will ever say what became of the announced calls."""
        self.calls_in_doubt += len(self.in_flight)
        self.in_flight = []

    def end(self, status: Status, now: int, retention_ms: int, failure: Failure | None = None) -> None:
        """Become terminal; ending again keeps the time of the first."""
        self.status = status
        self.let_go()
        self.finished_at = self.finished_at if self.finished_at is not None else max(self.created_at, now)
        self.wake_at = now + retention_ms
        self.failure = failure

    def take_totals(self, progress: Progress) -> None:
        """Believe the worker, whose totals are absolute."""
        for name in ("calls_settled", "calls_in_doubt", "calls_minimum", "completed", "failed", "input_tokens"):
            setattr(self, name, getattr(progress, name))
        self.output_tokens, self.stalls, self.rate_waits = progress.output_tokens, progress.stalls, progress.rate_waits
        self.in_flight = list(progress.in_flight)

    def result(self) -> list[str] | None:
        """The outputs that make the result."""
        if self.status is not Status.COMPLETED:
            return None
        level = max(key.level for key in self.outputs) if self.reduce is Reduce.MERGE else 0
        return [text for key, (text, _) in sorted(self.outputs.items()) if key.level == level]


class StoreModel:
    """All tasks by id."""

    def __init__(self) -> None:
        self.tasks: dict[str, ModelTask] = {}

    def insert(self, now: int, task_id: str, reduce: Reduce, total: int, route: str, unclaimed_ms: int) -> None:
        """Write a pending task, once."""
        minimum = total + (1 if reduce is Reduce.MERGE and total > 1 else 0)
        self.tasks.setdefault(task_id, ModelTask(reduce, total, now, now + unclaimed_ms, route, minimum))

    def claim(
        self, now: int, task_id: str, holder: str, host: str, route: str, lease_ms: int, announce: int
    ) -> ModelTask | tuple[Standing, int]:
        """Take a task that is due, run out, or one's own; the first claim ever announces calls."""
        task = self.tasks.get(task_id)
        if task is None:
            return Standing.MISSING, 0
        if task.status.terminal:
            return Standing.TERMINAL, 0
        own = task.holder == holder or (host != "" and task.host == host)
        if task.status is Status.PROCESSING and task.is_live(now) and not own:
            assert task.lease_until is not None
            return Standing.HELD, task.lease_until - now
        if task.status is Status.PENDING and task.not_before > now + EARLY_MS:
            return Standing.EARLY, task.not_before - now
        if task.holder != holder:
            crashed = task.status is Status.PROCESSING
            task.fence += 1
            task.attempts += crashed or task.started_at is None
            task.stalls += crashed
            task.doubted = task.in_flight
            task.doubt()
            if task.started_at is None:
                task.in_flight = [CallKey(0, position) for position in range(min(announce, task.total))]
        task.status = Status.PROCESSING
        task.holder, task.host, task.route = holder, host, route
        task.dispatches = task.not_before = 0
        task.lease_until = now + lease_ms
        task.started_at = task.started_at if task.started_at is not None else max(task.created_at, now)
        task.wake_at = min(task.wake_at, task.lease_until)
        return task

    def _record(self, task_id: str, fence: int, progress: Progress) -> ModelTask | None:
        """Keep outputs and failures of the worker with the latest fence, a cancelled one's too."""
        task = self.tasks.get(task_id)
        if task is None or task.fence != fence:
            return None
        if task.status in {Status.PROCESSING, Status.CANCELLED}:
            for output in progress.outputs:
                task.outputs.setdefault(output.key, (output.text, output.calls))
            task.failures |= {item.key: item for item in progress.failures}
        return task

    def step(self, now: int, task_id: str, fence: int, progress: Progress, step: Step) -> bool:
        """Record, then go on or end; nothing without the latest fence."""
        task = self._record(task_id, fence, progress)
        if task is None:
            return False
        again = {Release: Status.PENDING, Finish: Status.COMPLETED, Fail: Status.FAILED}.get(type(step))
        if task.status is not Status.PROCESSING and task.status is not again:
            return False
        if isinstance(step, Finish):
            chunks = sum(key.level == 0 for key in task.outputs)
            if chunks < task.total or CallKey(step.top_level, 0) not in task.outputs:
                return False
        task.take_totals(progress)
        match step:
            case Continue(lease_ms):
                task.lease_until = now + lease_ms
            case Release(delay_ms, sweep_ms):
                task.status = Status.PENDING
                task.let_go()
                task.not_before, task.wake_at = now + delay_ms, now + sweep_ms
            case Finish(retention_ms, _):
                task.end(Status.COMPLETED, now, retention_ms)
            case Fail(retention_ms, failure):
                task.end(Status.FAILED, now, retention_ms, failure)
        return True

    def settle_cancelled(self, task_id: str, fence: int, progress: Progress) -> None:
        """Take the last totals of the worker whose task was cancelled."""
        task = self._record(task_id, fence, progress)
        if task is not None and task.status is Status.CANCELLED:
            task.take_totals(progress)

    def dead_letter(self, now: int, task_id: str, failure: Failure, retention_ms: int) -> bool:
        """Fail what nobody works on and what waits for nothing."""
        task = self.tasks.get(task_id)
        if task is None or not task.is_idle(now) or (task.status is Status.PENDING and task.not_before > now):
            return False
        task.fence += 1
        task.doubt()
        task.end(Status.FAILED, now, retention_ms, Failure(failure.code, failure.message, retryable=True))
        return True

    def cancel(self, now: int, task_id: str, retention_ms: int) -> bool:
        """Cancel what has not ended."""
        task = self.tasks.get(task_id)
        if task is None or task.status.terminal:
            return False
        task.end(Status.CANCELLED, now, retention_ms)
        return True

    def retry(self, now: int, task_id: str, unclaimed_ms: int) -> bool:
        """Put back what failed or was cancelled; outputs stay."""
        task = self.tasks.get(task_id)
        if task is None or task.status not in {Status.FAILED, Status.CANCELLED}:
            return False
        task.status, task.failure, task.finished_at = Status.PENDING, None, None
        task.fence += 1
        task.attempts += task.started_at is not None
        task.doubt()
        task.failed = task.stalls = task.rate_waits = task.dispatches = task.not_before = 0
        task.failures.clear()
        task.wake_at = now + unclaimed_ms
        return True

    def erase(self, task_id: str) -> bool:
        """Forget a task."""
        return self.tasks.pop(task_id, None) is not None

    def due(self, now: int) -> tuple[set[str], set[str], set[str]]:
        """The ids of live, idle and ended tasks that the sweep must look at."""
        due = {task_id: task for task_id, task in self.tasks.items() if task.wake_at <= now}
        over = {task_id for task_id, task in due.items() if task.status.terminal}
        idle = {task_id for task_id, task in due.items() if task.is_idle(now)}
        return set(due) - over - idle, idle, over

    def settle_due(self, now: int, due: Due, delay_ms: int) -> tuple[set[str], int]:
        """Postpone, take on, erase; each only if it still is what `due` found."""
        for task in self._those(due.live):
            if task.status is Status.PROCESSING and task.is_live(now):
                assert task.lease_until is not None
                task.wake_at = task.lease_until
        taken = {i for i in due.idle if i in self.tasks and self.tasks[i].wake_at <= now and self.tasks[i].is_idle(now)}
        for task in self._those(sorted(taken)):
            task.dispatches += 1
            task.wake_at = now + delay_ms * 2 ** min(task.dispatches, SWEEP_BACKOFF_DOUBLINGS_MOST)
        over = [
            i
            for i in due.over
            if i in self.tasks and self.tasks[i].status.terminal and self.tasks[i].wake_at <= due.now_ms
        ]
        for task_id in over:
            del self.tasks[task_id]
        return taken, len(over)

    def _those(self, ids: Sequence[str]) -> list[ModelTask]:
        return [self.tasks[task_id] for task_id in ids if task_id in self.tasks]
