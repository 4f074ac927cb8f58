"""A model of the store in a few dicts: what `store.tasks` promises for each transition of a task, without SQL.

Its methods have the names and arguments of the store's, and return the same results as plain values. The model was
written from the contracts of the store's methods, and not from the SQL.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.limits import IDEMPOTENCY_SECONDS, START_SECONDS_MOST, SWEEP_BACKOFF_DOUBLINGS_MOST
from src.kernel.domain.task import BUDGET_EXHAUSTED, DEADLINE_EXCEEDED, Failure, NewTask, Reduce, Status, TaskOptions
from src.kernel.store.admission import Accepted, Conditions, Limit, LimitReached, Mismatched, Outcome, Replayed
from src.kernel.store.claims import (
    CallKey,
    Claim,
    ClaimRefusal,
    Continue,
    Fail,
    FailedCall,
    Finish,
    Next,
    Progress,
    Release,
    Tries,
)
from src.kernel.store.sweep import Due

EARLY_MS = 1_000
DAY_MS = 86_400_000


@dataclass(slots=True)
class ModelTask:
    """One task. Its fields are columns of `tasks`, and `options` several of them."""

    options: TaskOptions
    total: int
    created_at: int
    wake_at: int
    route: str
    calls_minimum: int
    deadline_at: int | None = None
    submission: str | None = None
    announced_at: int | None = None
    status: Status = Status.PENDING
    completed: int = 0
    failed: int = 0
    fence: int = 0
    holder: str | None = None
    host: str | None = None
    lease_until: int | None = None
    attempts: int = 0
    stalls: int = 0
    stalled_since: int | None = None
    rest_until: int = 0
    rate_waits: int = 0
    idle_runs: int = 0
    start_ms: int = 2_000
    calls_settled: int = 0
    calls_in_doubt: int = 0
    in_flight: list[CallKey] = field(default_factory=list)
    doubted: list[CallKey] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    truncated: int = 0
    failure: Failure | None = None
    dispatches: int = 0
    not_before: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    outputs: dict[CallKey, tuple[str, int]] = field(default_factory=dict)
    failures: dict[CallKey, FailedCall] = field(default_factory=dict)
    merges: dict[int, tuple[int, ...]] = field(default_factory=dict)
    text: str = ""

    def begin_time(self, now: int) -> None:
        self.deadline_at = None if self.options.deadline_ms is None else now + self.options.deadline_ms

    def window(self, first: int, chunks: int) -> tuple[range, str]:
        there = range(first, max(first, min(first + chunks, self.total)))
        return there, self.text[there.start : there.stop]

    def free_at(self) -> int:
        assert self.lease_until is not None
        return max(self.lease_until, self.rest_until)

    def is_held(self, now: int) -> bool:
        return self.status is Status.PROCESSING and self.free_at() > now

    def is_idle(self, now: int) -> bool:
        return not self.status.terminal and not self.is_held(now)

    def crashes(self) -> int:
        """Return how many claims in a row ended without a finished call, the present one if it has ended."""
        return self.stalls + (self.stalled_since is not None)

    def refusal(self, now: int, holder: str, host: str) -> tuple[ClaimRefusal, int] | None:
        """Return why a claim is refused, or None. The same host waits for the rest, not for the lease."""
        if self.status.terminal:
            return ClaimRefusal.TERMINAL, 0
        if self.is_overdue(now):
            return ClaimRefusal.OVERDUE, 0
        if self.status is Status.PENDING:
            return (ClaimRefusal.EARLY, self.not_before - now) if self.not_before > now + EARLY_MS else None
        if self.holder == holder:
            return None
        if host != "" and self.host == host:
            return (ClaimRefusal.EARLY, self.rest_until - now) if self.rest_until > now else None
        return (ClaimRefusal.HELD, self.free_at() - now) if self.is_held(now) else None

    def stall(self, now: int, rests: Rests) -> None:
        if self.status is Status.PROCESSING:
            self.stalls = self.crashes()
        if self.stalls == 0 or self.stalled_since is None:
            self.stalled_since = now
        if self.stalls >= len(rests.between_ms):
            self.rest_until = self.stalled_since + rests.least_ms
            return
        rest_ms = rests.between_ms[self.stalls]
        self.rest_until = max(self.stalled_since + rest_ms, now + rest_ms // 2)

    def is_overdue(self, now: int) -> bool:
        return self.deadline_at is not None and self.deadline_at <= now

    def look_at(self, at: int) -> None:
        self.wake_at = at if self.deadline_at is None else min(at, self.deadline_at)

    def starting_ms(self, now: int) -> int:
        if self.status not in {Status.PENDING, Status.PROCESSING, Status.CANCELLED} and self.attempts <= 1:
            return 0
        return max(0, self.window_left_ms(now))

    def window_left_ms(self, now: int) -> int:
        return min(self.start_ms, (self.announced_at or 0) + self.start_ms - now)

    def let_go(self) -> None:
        """End the task's lease. The name of the last claim's holder is kept."""
        self.host = self.lease_until = None

    def doubt(self) -> None:
        self.calls_in_doubt += len(self.in_flight)
        self.in_flight = []

    def end(self, status: Status, now: int, retention_ms: int, failure: Failure | None = None) -> None:
        self.status = status
        self.let_go()
        self.finished_at = self.finished_at if self.finished_at is not None else max(self.created_at, now)
        self.wake_at = self.finished_at + retention_ms
        self.failure = failure

    def take_totals(self, progress: Progress) -> None:
        for name in ("calls_settled", "calls_in_doubt", "calls_minimum", "completed", "failed", "input_tokens"):
            setattr(self, name, getattr(progress, name))
        self.output_tokens, self.stalls, self.rate_waits = progress.output_tokens, progress.stalls, progress.rate_waits
        self.idle_runs, self.truncated = progress.idle_runs, progress.truncated
        self.in_flight = list(progress.in_flight)
        if progress.finished:
            self.stalled_since, self.rest_until = None, 0

    def refused(self) -> dict[CallKey, FailedCall]:
        return {key: item for key, item in self.failures.items() if item.final and key not in self.outputs}

    def result(self) -> list[str] | None:
        if self.status is not Status.COMPLETED:
            return None
        level = max(key.level for key in self.outputs) if self.options.reduce is Reduce.MERGE else 0
        return [text for key, (text, _) in sorted(self.outputs.items()) if key.level == level]


@dataclass(slots=True)
class Submission:
    """The entry of an idempotency key: its task, the digest of its request, and when it expires."""

    task_key: TaskKey
    digest: str
    expires_at: int
    replayed: bool = False


class StoreModel:
    """A model of the store: tasks, the tasks of idempotency keys, and each tenant's characters on its latest day.

    `now` is the database's time. `resent`: the store sends the present write again, so it finds what it wrote.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self.resent = False
        self.tasks: dict[str, ModelTask] = {}
        self.submissions: dict[str, Submission] = {}
        self.daily_use: dict[str, tuple[int, int]] = {}

    def state(self) -> tuple[object, ...]:
        return self.tasks, self.submissions, self.daily_use

    def insert(self, new: NewTask, unclaimed_ms: int, on: Conditions) -> Outcome:
        """Write a pending task if key and limits allow; a second write does nothing."""
        tenant = new.task_key.partition(":")[0]
        name = None if on.idempotency_key is None else f"{tenant}:{on.idempotency_key}"
        holder = None if name is None else self._take_key(name, new.task_key, on.digest)
        known, day = new.task_key in self.tasks, self.now // DAY_MS
        used = self.daily_use.get(tenant, (day, 0))
        characters, most = len(new.text) + (used[1] if used[0] == day else 0), on.characters_a_day_most
        full, too_much = self._full(tenant, on), most is not None and characters > most
        if not known and not full and not too_much and (holder is None or holder.task_key == new.task_key):
            self.tasks[new.task_key] = task = ModelTask(
                *(new.options, len(new.cuts), new.created_at, 0, new.route, new.minimum_calls),
                submission=name,
                text=new.text,
            )
            task.begin_time(self.now)
            task.look_at(self.now + unclaimed_ms)
            if most is not None:
                self.daily_use[tenant] = (day, characters)
        if new.task_key in self.tasks:
            return self._accepted(tenant, on)
        if holder is not None and holder.task_key != new.task_key:
            return Replayed(holder.task_key) if holder.digest == on.digest else Mismatched()
        if name is not None:
            del self.submissions[name]
        return LimitReached(Limit.TASKS_IN_FLIGHT if full else Limit.CHARACTERS_PER_DAY)

    def _take_key(self, name: str, task_key: TaskKey, digest: str) -> Submission:
        """Take a free or expired key; else record that another client was answered with its task."""
        holder = self.submissions.get(name)
        if holder is None or (holder.expires_at <= self.now and holder.task_key != task_key):
            holder = self.submissions[name] = Submission(task_key, digest, self.now + IDEMPOTENCY_SECONDS * 1000)
        if holder.task_key != task_key and holder.digest == digest:
            holder.replayed = True
        return holder

    def _unended(self, tenant: str) -> int:
        return sum(not task.status.terminal for key, task in self.tasks.items() if key.startswith(f"{tenant}:"))

    def _full(self, tenant: str, on: Conditions) -> bool:
        return on.tasks_in_flight_most is not None and self._unended(tenant) >= on.tasks_in_flight_most

    def _accepted(self, tenant: str, on: Conditions) -> Accepted:
        return Accepted(crowded=on.queue_share is not None and self._unended(tenant) > on.queue_share)

    def withdraw(self, new: NewTask, on: Conditions) -> None:
        """Withdraw a task unless another client was answered with it."""
        held = self._held(new.task_key) if new.task_key in self.tasks else None
        if new.task_key not in self.tasks or (held is not None and self.submissions[held].replayed):
            return
        tenant = new.task_key.partition(":")[0]
        day, used = self.daily_use.get(tenant, (0, 0))
        if on.characters_a_day_most is not None and day == self.now // DAY_MS:
            self.daily_use[tenant] = (day, max(0, used - len(new.text)))
        self._forget(new.task_key)

    def _held(self, task_key: TaskKey) -> str | None:
        name = self.tasks[task_key].submission
        held = None if name is None else self.submissions.get(name)
        return name if held is not None and held.task_key == task_key else None

    def _forget(self, task_key: TaskKey) -> None:
        if (name := self._held(task_key)) is not None:
            del self.submissions[name]
        del self.tasks[task_key]

    def claim(
        self,
        task_key: TaskKey,
        holder: str,
        *,
        host: str,
        route: str,
        lease_ms: int,
        announce: int,
        start_ms: int,
        rests: Rests,
    ) -> ModelTask | tuple[ClaimRefusal, int]:
        """Claim a task that waits, whose lease is over, or that the host has. The first announces calls."""
        task = self.tasks.get(task_key)
        if task is None:
            return ClaimRefusal.MISSING, 0
        if (refused := task.refusal(self.now, holder, host)) is not None:
            return refused
        if task.holder != holder or task.status is not Status.PROCESSING:
            crashed = task.status is Status.PROCESSING
            task.fence += 1
            task.attempts += crashed or task.started_at is None
            task.stall(self.now, rests)
            task.doubted = task.in_flight
            task.doubt()
            if task.started_at is None:
                first = min(announce, task.total, task.options.max_calls or announce)
                task.in_flight = [CallKey(0, position) for position in range(first)]
        task.status = Status.PROCESSING
        task.holder, task.host, task.route = holder, host, route
        task.dispatches = task.not_before = 0
        task.lease_until = self.now + lease_ms
        task.announced_at, task.start_ms = self.now, max(task.start_ms, start_ms)
        task.started_at = task.started_at if task.started_at is not None else max(task.created_at, self.now)
        task.wake_at = min(task.wake_at, task.lease_until)
        return task

    def _of(self, task_key: TaskKey, fence: int) -> ModelTask | None:
        task = self.tasks.get(task_key)
        return None if task is None or task.fence != fence else task

    def _record(self, claim: Claim, progress: Progress) -> ModelTask | None:
        task = self._of(claim.task_key, claim.fence)
        if task is None:
            return None
        if task.status in {Status.PROCESSING, Status.CANCELLED, Status.FAILED}:
            for output in progress.outputs:
                task.outputs.setdefault(output.key, (output.text, output.calls))
            task.failures |= {item.key: item for item in progress.failures}
            for merge in progress.merges:
                task.merges.setdefault(merge.level, tuple(merge.ends))
        return task

    def window(self, task_key: TaskKey, fence: int, first: int, chunks: int) -> tuple[range, str] | None:
        task = self._of(task_key, fence)
        if task is None or task.status is not Status.PROCESSING:
            return None
        return task.window(first, min(chunks, max(1, limits.WINDOW_CHARS_MOST)))

    def step(self, claim: Claim, progress: Progress, step: Next) -> bool:
        task = self._record(claim, progress)
        if task is None or not self._takes(task, step):
            return False
        if isinstance(step, Finish):
            chunks = sum(key.level == 0 for key in task.outputs)
            if chunks < task.total or CallKey(step.top_level, 0) not in task.outputs:
                return False
        task.take_totals(progress)
        match step:
            case Continue(lease_ms, start_ms):
                task.lease_until = self.now + lease_ms
                task.start_ms = max(start_ms, task.window_left_ms(self.now))
                task.announced_at = self.now
            case Release(delay_ms, sweep_ms):
                task.status = Status.PENDING
                task.let_go()
                task.not_before = self.now + delay_ms
                task.look_at(self.now + sweep_ms)
            case Finish(retention_ms, _):
                task.end(Status.COMPLETED, self.now, retention_ms)
            case Fail(retention_ms, failure):
                task.end(Status.FAILED, self.now, retention_ms, failure)
        return True

    def _takes(self, task: ModelTask, step: Next) -> bool:
        if task.status is Status.PROCESSING:
            return not (task.is_overdue(self.now) and isinstance(step, Continue | Finish))
        if isinstance(step, Fail) and task.failure is not None and task.failure.code != step.failure.code:
            return False
        return task.status is {Release: Status.PENDING, Finish: Status.COMPLETED, Fail: Status.FAILED}.get(type(step))

    def settle(self, claim: Claim, progress: Progress, overdue: Failure, retention_ms: int) -> Status | None:
        """Set an ended task's totals to its worker's; before its end only those of the same outputs."""
        if claim.deadline_left_ms is not None:
            self.expire([claim.task_key], overdue, retention_ms)
        task = self._record(claim, progress)
        if task is None:
            return None
        expired = task.failure is not None and task.failure.code == DEADLINE_EXCEEDED
        if task.status not in {Status.CANCELLED, Status.PROCESSING} and not expired:
            return None
        task.take_totals(progress)
        return None if task.status is Status.PROCESSING else task.status

    def may_start(self, task_key: TaskKey, fence: int) -> int | None:
        task = self._of(task_key, fence)
        if task is None or task.status is not Status.PROCESSING:
            return None
        return task.start_ms if task.deadline_at is None else min(task.start_ms, task.deadline_at - self.now)

    def expire(self, ids: Sequence[str], failure: Failure, retention_ms: int) -> set[str]:
        """Fail overdue tasks, whose fence and calls stay, so that a worker can settle them."""
        overdue = {i for i in ids if i in self.tasks and self.tasks[i].is_overdue(self.now)}
        ended = {i for i in overdue if not self.tasks[i].status.terminal}
        for task in self._those(ended):
            task.end(Status.FAILED, self.now, retention_ms, failure)
        return ended

    def dead_letter(self, task_key: TaskKey, failure: Failure, retention_ms: int) -> bool:
        task = self.tasks.get(task_key)
        if task is None or not task.is_idle(self.now) or (task.status is Status.PENDING and task.not_before > self.now):
            return False
        task.fence += 1
        task.doubt()
        task.end(Status.FAILED, self.now, retention_ms, Failure(failure.code, failure.message, retryable=True))
        return True

    def cancel(self, task_key: TaskKey, retention_ms: int) -> tuple[bool, int]:
        task = self.tasks.get(task_key)
        if task is None or task.status.terminal:
            return False, 0 if task is None else task.starting_ms(self.now)
        task.end(Status.CANCELLED, self.now, retention_ms)
        return True, task.starting_ms(self.now)

    def retry(self, task_key: TaskKey, unclaimed_ms: int, on: Conditions) -> Accepted | None:
        """Retry an ended task that limits allow. A pending one counts as retried if the write is sent again."""
        task, tenant = self.tasks.get(task_key), task_key.partition(":")[0]
        if task is not None and task.status is Status.PENDING and self.resent:
            return self._accepted(tenant, on)
        if task is None or task.status not in {Status.FAILED, Status.CANCELLED} or self._full(tenant, on):
            return None
        if task.failure is not None and task.failure.code == BUDGET_EXHAUSTED:
            return None
        task.status, task.failure, task.finished_at = Status.PENDING, None, None
        task.fence += 1
        task.attempts += task.started_at is not None
        task.doubt()
        task.stalled_since = None
        task.failed = task.stalls = task.rate_waits = task.idle_runs = task.dispatches = task.not_before = 0
        task.failures = {
            key: item._replace(tried=Tries(), final=False, rests_until=None, held=None, rejection=None, gap_chars=None)
            for key, item in task.failures.items()
        }
        task.begin_time(self.now)
        task.look_at(self.now + unclaimed_ms)
        return self._accepted(tenant, on)

    def erase(self, task_key: TaskKey) -> tuple[bool, int]:
        """Erase a task. A missing one counts as erased if the write is sent again."""
        task = self.tasks.get(task_key)
        if task is None:
            return (True, round(START_SECONDS_MOST * 1000)) if self.resent else (False, 0)
        self._forget(task_key)
        return True, task.starting_ms(self.now)

    def due(self, most: int) -> Due:
        """Return the tasks that the sweep must check: first each tenant's longest due task, then each tenant's second,
        etc.

        Each minute the sweep begins `most` tenants further on in the list of tenants with unfinished tasks. The result
        has at most `most` unfinished tasks, and at most `most` ended tasks, those that have been due for erasure
        longest.
        """
        going_on = [task_key for task_key, task in self.tasks.items() if not task.status.terminal]
        tenants = sorted({task_key.partition(":")[0] for task_key in going_on})
        waiting = sorted((task.wake_at, task_key) for task_key, task in self.tasks.items() if task.wake_at <= self.now)
        over = [task_key for _, task_key in waiting if self.tasks[task_key].status.terminal]
        due = Due(self.now if waiting else 0)
        chunks = 0
        for task_key in over[:most]:
            chunks += self.tasks[task_key].total
            if not due.past_retention or chunks <= limits.ERASE_OUTPUTS_MOST:
                due.past_retention.append(TaskKey(task_key))
        places: Counter[str] = Counter()
        ranked: list[tuple[int, int, TaskKey]] = []
        for _, task_key in waiting:
            if task_key in over:
                continue
            tenant = task_key.partition(":")[0]
            places[tenant] += 1
            turn = (tenants.index(tenant) - self.now // 60_000 * most) % len(tenants)
            ranked.append((places[tenant], turn, TaskKey(task_key)))
        for *_, task_key in sorted(ranked)[:most]:
            task = self.tasks[task_key]
            if task.is_overdue(self.now):
                due.overdue.append(task_key)
            elif task.is_held(self.now):
                due.live.append(task_key)
            else:
                due.idle.append(task_key)
                if task.crashes() and task.status is Status.PROCESSING:
                    due.stalls[task_key] = task.crashes()
        return due

    def page(self, tenant: str, status: Status | None) -> list[str]:
        own = [key for key in self.tasks if key.startswith(f"{tenant}:")]
        return sorted((key for key in own if status in {None, self.tasks[key].status}), reverse=True)

    def take_due(self, due: Due, delay_ms: int) -> set[TaskKey]:
        """Postpone the tasks that `due` found and that have not changed since, and return those without a worker."""
        for task in self._those(due.live):
            if task.is_held(self.now):
                task.look_at(task.free_at())
        idle = {i: self.tasks[i] for i in due.idle if i in self.tasks and self.tasks[i].is_idle(self.now)}
        taken = {i for i, task in idle.items() if task.wake_at <= self.now and not task.is_overdue(self.now)}
        for task in self._those(taken):
            task.dispatches += 1
            task.look_at(self.now + delay_ms * 2 ** min(task.dispatches, SWEEP_BACKOFF_DOUBLINGS_MOST))
        return taken

    def erase_expired(self, due: Due) -> int:
        """Erase those of the tasks found by `due` whose retention is over, unless they have changed since then."""
        found = [i for i in due.past_retention if i in self.tasks]
        over = [i for i in found if self.tasks[i].status.terminal and self.tasks[i].wake_at <= due.now_ms]
        for task_key in over:
            self._forget(task_key)
        return len(over)

    def _those(self, ids: Iterable[str]) -> list[ModelTask]:
        return [self.tasks[task_key] for task_key in ids if task_key in self.tasks]
