"""Property tests of the store: after any sequence of transitions the database and a Python model agree."""

import json
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey, split_task_key
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import CONCAT_SEPARATOR, Failure, NewTask, Reduce, Route, Status
from src.kernel.store.admission import UNCONDITIONAL, Accepted, Conditions
from src.kernel.store.claims import Claim, Continue, Fail, Finish, Release
from src.kernel.store.d1 import Database
from src.kernel.store.ending import Stopped
from src.kernel.store.rows import ListFilter, span
from src.kernel.store.sweep import Due
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import NETWORK_LOST, OVERLOADED, SqliteD1, run_coroutine
from tests.support.store_bench import OVERDUE, START_MS, new_task, stored_outputs
from tests.support.store_machine import Worker, claim_expected, claim_seen, failed_values, row_facts, task_facts
from tests.support.store_model import DAY_MS, EARLY_MS, ModelTask, StoreModel
from tests.support.tiers import sized, tier

CAMPAIGN = tier() == "campaign"
RUNS, STEPS = sized(quick=(30, 50), test=(120, 50), campaign=(20_000, 100))
LEASE_MS = 10_000
RETENTION_MS = 100_000
CHUNKS_MOST = 3
LETTERS = "a漢\U0001f600"  # one for each chunk
WINDOW_CHARS_MOST = 2
SEGMENT_BYTES = 60  # one or two pieces
SUBMISSIONS_MOST = 6
LIST_WALK_MOST = 2
ERASE_OUTPUTS_MOST = 3
TENANTS = ("a", "b")
RESTS = (Rests(), Rests((0, 2 * LEASE_MS), 3 * LEASE_MS), Rests((), 2 * LEASE_MS))

failures = st.builds(
    Failure, st.sampled_from(["model_refused", "model_timeout"]), st.sampled_from(["401", "文"]), st.booleans()
)
windows = st.sampled_from([2_000, 7_000, 20_000])
delays = st.sampled_from([0, EARLY_MS, EARLY_MS + 1, LEASE_MS])
steps = st.one_of(
    st.builds(Continue, st.just(LEASE_MS), windows, st.sampled_from((0, limits.ROOM_BYTES_A_CALL))),
    st.just(Finish(RETENTION_MS)),
    st.builds(Release, delays, st.sampled_from([0, LEASE_MS])),
    st.builds(Fail, st.sampled_from([0, RETENTION_MS]), failures),
)
# Mostly the answer comes. Sometimes a method's first D1 call fails, before or after its commit, and the store sends it
# again.
faults = st.sampled_from([None] * 6 + ["before", "after"])
positions = st.sampled_from([set(), {0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}])
pauses = st.sampled_from([1, 500, EARLY_MS, LEASE_MS // 2, LEASE_MS - 1, LEASE_MS, LEASE_MS + 1, RETENTION_MS, DAY_MS])
bounds = st.fixed_dictionaries(
    {
        "deadline_ms": st.sampled_from([None, None, 1, 500, LEASE_MS - 1, LEASE_MS + 1, 3 * LEASE_MS]),
        "max_calls": st.sampled_from([None, None, 1, 2, 3, 5]),
    }
)
# As in the API, most submissions have no conditions.
conditions = st.one_of(
    st.just(UNCONDITIONAL),
    st.builds(
        Conditions,
        idempotency_key=st.sampled_from([None, "k", "k", "l"]),
        digest=st.sampled_from(["this", "that"]),
        tasks_in_flight_most=st.sampled_from([None, None, 1, 2]),
        characters_a_day_most=st.sampled_from([None, None, 3, 6]),
        queue_share=st.sampled_from([None, 0, 1]),
    ),
)
NONE_FAILED: dict[str, Any] = {
    "failed": set(),
    "final": False,
    "failure": Failure(TaskCode.MODEL_REFUSED, "none", retryable=False),
}
rarely = st.sampled_from([False] * 5 + [True])


class StoreMachine(RuleBasedStateMachine):
    """Its rules are the store's methods. After each, every row is compared with the model."""

    tasks = Bundle("tasks")
    workers = Bundle("workers")
    sweeps = Bundle("sweeps")

    def __init__(self) -> None:
        super().__init__()
        self.model = StoreModel(START_MS)
        self.database = SqliteD1(now_ms=lambda: self.model.now)
        self.store = task_store(Database(self.database, Meter()))
        self.holders = 0
        self.submitted: dict[str, tuple[NewTask, Conditions]] = {}
        self.claims: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        self.database.close()

    def both(self, fault: str | None, name: str, *arguments: Any, reads: int = 0, **wish: Any) -> tuple[Any, Any]:
        """Call a method of store and model. With `fault`, its D1 call fails before or after its commit.

        A write that is sent again is applied twice; `reads` calls come before it.
        """
        if fault == "after":
            self.database.fail(NETWORK_LOST, "after", passing=reads)
        elif fault == "before":
            self.database.fail(OVERLOADED, "before", passing=reads)
        self.model.resent = fault is not None
        given = run_coroutine(getattr(self.store, name)(*arguments, **wish))
        expected = getattr(self.model, name)(*arguments, **wish)
        self.database.heal()
        if fault == "after":
            before = repr(self.model.state())
            expected = getattr(self.model, name)(*arguments, **wish)
            assert repr(self.model.state()) == before, "not safe to send again"
        return given, expected

    def same(
        self, fault: str | None, name: str, *arguments: Any, reads: int = 0, seen: Callable[[Any], Any] | None = None
    ) -> Any:
        """Call a method of both, and compare their results, of the store's only what is `seen`."""
        given, expected = self.both(fault, name, *arguments, reads=reads)
        assert (given if seen is None else seen(given)) == expected
        return given

    @rule(
        target=tasks,
        tenant=st.sampled_from(TENANTS),
        chunks=st.sampled_from([1, 2, 3, 3]),
        reduce=st.sampled_from(Reduce),
        bound=bounds,
        on=conditions,
        fault=faults,
    )
    def insert(self, tenant: str, chunks: int, reduce: Reduce, bound: Any, on: Conditions, fault: str | None) -> Any:
        if len(self.submitted) == SUBMISSIONS_MOST:
            return multiple()
        task_key = TaskKey(f"{tenant}:task-{len(self.submitted) + 1}")
        new = new_task(task_key, chunks, reduce, self.model.now, **bound)
        self.submitted[task_key] = replace(new, text=LETTERS[:chunks]), on
        return task_key if isinstance(self._insert(task_key, fault), Accepted) else multiple()

    @rule(task_key=tasks, fault=faults)
    def insert_again(self, task_key: TaskKey, fault: str | None) -> None:
        if task_key in self.model.tasks:  # the id of an erased task is never used again
            self._insert(task_key, fault)

    def _insert(self, task_key: TaskKey, fault: str | None) -> Any:
        new, on = self.submitted[task_key]
        given = self.same(fault, "insert", new, LEASE_MS, on)
        if fault is not None and not isinstance(given, Accepted):
            self.model.withdraw(new, on)
        return given

    @rule(task_key=tasks, fault=faults, meant=rarely)
    def withdraw(self, task_key: TaskKey, fault: str | None, *, meant: bool) -> None:
        if meant:
            self.both(fault, "withdraw", *self.submitted[task_key])

    @rule(
        target=workers,
        task_key=tasks,
        host=st.sampled_from(["", "", "object-1", "object-2"]),
        route=st.sampled_from(Route),
        lease_ms=st.sampled_from([LEASE_MS, 2 * LEASE_MS, 1]),
        announce=st.integers(0, CHUNKS_MOST),
        start_ms=windows,
        rests=st.sampled_from(RESTS),
        fault=faults,
    )
    def claim(self, task_key: TaskKey, fault: str | None, **wish: Any) -> Any:
        self.holders += 1
        return self._claim(task_key, f"holder-{self.holders}", fault, **wish)

    @rule(target=workers, worker=workers, fault=faults)
    def claim_again(self, worker: Worker, fault: str | None) -> Any:
        """The same holder gets its old claim, or a new one if another worker has had the task since."""
        wish = {"host": worker.host, "route": Route.QUEUE, "lease_ms": LEASE_MS, "announce": 1}
        wish |= {"start_ms": 2_000, "rests": RESTS[1]}
        return self._claim(worker.claim.task_key, worker.holder, fault, **wish)

    def _claim(self, task_key: TaskKey, holder: str, fault: str | None, **wish: Any) -> Any:
        given, expected = self.both(fault, "claim", task_key, holder=holder, **wish)
        if not isinstance(given, Claim):
            assert (given.standing, given.left_ms) == expected
            return multiple()
        assert isinstance(expected, ModelTask), expected
        assert claim_seen(given) == claim_expected(expected, self.model.now)
        window = expected.window(expected.completed, max(wish["announce"], WINDOW_CHARS_MOST))
        assert (given.window.chunks, given.window.text) == window
        assert not (given.failed_for_good and given.announced) or (task_key, given.fence) in self.claims
        # Each claim has one worker, which knows of calls that it has not reported to the database.
        if (task_key, given.fence) in self.claims:
            return multiple()
        self.claims.add((task_key, given.fence))
        return Worker(
            given, holder, wish["host"], expected.total, expected.options.reduce is Reduce.MERGE, set(given.outputs)
        )

    @rule(
        worker=workers,
        done=positions,
        failed=positions,
        in_flight=positions,
        final=st.booleans(),
        failure=failures,
        step=steps,
        fault=faults,
    )
    def step(self, worker: Worker, step: Any, fault: str | None, **facts: Any) -> None:
        self._step(worker, step, fault, **facts)

    @rule(
        worker=workers,
        done=positions,
        failed=positions,
        in_flight=positions,
        final=st.booleans(),
        failure=failures,
        start_ms=windows,
        fault=faults,
    )
    def go_on(self, worker: Worker, start_ms: int, fault: str | None, **facts: Any) -> None:
        self._step(worker, Continue(LEASE_MS, start_ms), fault, **facts)

    @rule(worker=workers, delay_ms=delays, done=positions, in_flight=positions, failure=failures, fault=faults)
    def release(self, worker: Worker, delay_ms: int, fault: str | None, **facts: Any) -> None:
        self._step(worker, Release(delay_ms, delay_ms + LEASE_MS), fault, failed=set(), final=False, **facts)

    @rule(worker=workers, done=positions, failed=positions, failure=failures, fault=faults)
    def fail(self, worker: Worker, failure: Failure, fault: str | None, **facts: Any) -> None:
        step = Fail(RETENTION_MS, failure)
        self._step(worker, step, fault, in_flight=set(), final=True, failure=failure, **facts)

    def _step(self, worker: Worker, step: Any, fault: str | None, **facts: Any) -> None:
        progress = worker.progress(**facts)
        if isinstance(step, Finish) and worker.merges and worker.total > 1:
            step = Finish(step.retention_ms, 1)
        if isinstance(step, Continue) and not progress.in_flight:
            step = step._replace(room_bytes=0)  # a worker reserves storage for outputs only if it may make calls
        self.same(fault, "step", worker.claim, progress, step)

    @rule(worker=workers, done=positions, failed=positions, in_flight=positions, failure=failures, fault=faults)
    def settle(self, worker: Worker, fault: str | None, **facts: Any) -> None:
        self.same(fault, "settle", worker.claim, worker.progress(final=False, **facts), OVERDUE, RETENTION_MS)

    @rule(worker=workers)
    def may_start(self, worker: Worker) -> None:
        self.same(None, "may_start", worker.claim.task_key, worker.claim.fence)

    @rule(worker=workers, first=st.integers(0, CHUNKS_MOST - 1), chunks=st.integers(1, CHUNKS_MOST))
    def window(self, worker: Worker, first: int, chunks: int) -> None:
        claim, shown = worker.claim, lambda found: found and (found.chunks, found.text)
        self.same(None, "window", claim.task_key, claim.fence, first, chunks, seen=shown)

    @rule(worker=workers, level=st.integers(0, 1), first=st.integers(0, 2), last=st.integers(0, 2))
    def outputs_of_a_level(self, worker: Worker, level: int, first: int, last: int) -> None:
        task_key = worker.claim.task_key
        task = self.model.tasks.get(task_key)
        outputs = {} if task is None else task.outputs
        texts = {key.position: text for key, (text, _) in outputs.items() if key.level == level}
        assert run_coroutine(self.store.level_sizes(task_key, level)) == {at: len(text) for at, text in texts.items()}
        found = {
            at: one.text for at, one in run_coroutine(self.store.level_outputs(task_key, level, first, last)).items()
        }
        assert found == {at: text for at, text in texts.items() if first <= at <= last}

    @rule(ids=st.lists(tasks, min_size=1, max_size=3), fault=faults)
    def expire(self, ids: list[TaskKey], fault: str | None) -> None:
        self.same(fault, "expire", ids, OVERDUE, RETENTION_MS, seen=set)

    @rule(worker=workers, fault=faults)
    def finish(self, worker: Worker, fault: str | None) -> None:
        self._finish(worker, fault)

    def _finish(self, worker: Worker, fault: str | None) -> None:
        self._step(worker, Finish(RETENTION_MS), fault, done=set(range(CHUNKS_MOST)), in_flight=set(), **NONE_FAILED)

    @rule(worker=workers, early_ms=st.sampled_from([0, 1]), finishing=st.booleans(), fault=faults)
    def in_time(self, worker: Worker, early_ms: int, fault: str | None, *, finishing: bool) -> None:
        """Try a worker's write at its task's deadline, where it fails, or a millisecond earlier, where it succeeds."""
        task = self.model.tasks.get(worker.claim.task_key)
        if task is None or task.deadline_at is None or task.deadline_at - early_ms < self.model.now:
            return
        self.model.now = task.deadline_at - early_ms
        if finishing:
            self._finish(worker, fault)
        else:
            self._step(worker, Continue(LEASE_MS), fault, done={0}, in_flight={1}, **NONE_FAILED)

    @rule(task_key=tasks, failure=failures, fault=faults)
    def dead_letter(self, task_key: TaskKey, failure: Failure, fault: str | None) -> None:
        self.same(fault, "dead_letter", task_key, failure, RETENTION_MS, reads=1)

    @rule(task_key=tasks, retention_ms=st.sampled_from([0, RETENTION_MS]), fault=faults)
    def cancel(self, task_key: TaskKey, retention_ms: int, fault: str | None) -> None:
        self.same(fault, "cancel", task_key, retention_ms, reads=1, seen=_stopped)

    @rule(task_key=tasks, on=conditions, fault=faults)
    def retry(self, task_key: TaskKey, on: Conditions, fault: str | None) -> None:
        self.same(fault, "retry", task_key, LEASE_MS, on, reads=1)

    @rule(task_key=tasks, fault=faults, meant=rarely)
    def erase(self, task_key: TaskKey, fault: str | None, *, meant: bool) -> None:
        if meant:  # the other rules no longer get an erased task
            self.same(fault, "erase", task_key, seen=_stopped)

    @precondition(lambda self: self.model.tasks)
    @rule(target=sweeps, most=st.sampled_from([1, 2, 3, 100, 100, 100]), fault=faults)
    def due(self, most: int, fault: str | None) -> Due:
        return self.same(fault, "due", most)

    @rule(due=sweeps, fault=faults)
    def take_due(self, due: Due, fault: str | None) -> None:
        """Send off tasks that an earlier search found due, although some tasks may have changed since."""
        self.same(fault, "take_due", due, LEASE_MS, seen=set)

    @rule(due=sweeps, fault=faults)
    def erase_expired(self, due: Due, fault: str | None) -> None:
        self.same(fault, "erase_expired", due)

    @rule(milliseconds=pauses)
    def pass_time(self, milliseconds: int) -> None:
        self.model.now += milliseconds

    @rule(task_key=tasks)
    def read(self, task_key: TaskKey) -> None:
        model = self.model.tasks.get(task_key)
        task, chunks = run_coroutine(self.store.task(task_key)), run_coroutine(self.store.chunks(task_key))
        going_on = run_coroutine(self.store.going_on(task_key))
        if model is None:
            assert (task, chunks, going_on) == (None, None, None)
            return
        assert task is not None
        assert chunks is not None
        in_flight, result = len(model.in_flight), model.result()
        live = model.lease_until is not None and model.lease_until > self.model.now
        assert task.status == model.status
        assert task.overdue == (model.is_overdue(self.model.now) and not model.status.terminal)
        assert (going_on is not None) == (not model.status.terminal and not task.overdue)
        assert going_on is None or (going_on.mark, going_on.status) == (task.mark, task.status)
        assert task.mark.fence == model.fence
        assert (task.deadline_at, task.options) == (model.deadline_at, model.options)
        assert task.usage.model_calls == model.calls_settled + model.calls_in_doubt + in_flight
        assert task.usage.in_doubt == model.calls_in_doubt + (0 if live else in_flight)
        assert (task.completed, task.failed, task.attempts) == (model.completed, model.failed, model.attempts)
        assert task.failure == model.failure
        assert task.expires_at == (model.wake_at if model.status.terminal else None)
        merged = result is not None and model.options.reduce is not Reduce.NONE
        assert task.result == (CONCAT_SEPARATOR.join(result or []) if merged else result and tuple(result))
        shown = [(view.index, view.output) for view in chunks]
        assert shown == sorted(
            [(key.position, text) for key, (text, _) in model.outputs.items() if key.level == 0]
            + [(key.position, None) for key in model.refused()],
            key=lambda pair: pair[0],
        )
        assert len({index for index, _ in shown}) == len(shown)

    @rule(tenant=st.sampled_from(TENANTS), status=st.sampled_from([None, *Status]), most=st.integers(1, 3))
    def list_pages(self, tenant: str, status: Status | None, most: int) -> None:
        """All pages together have each task once, newest first, and none is too long."""
        seen: list[str] = []
        last: TaskKey | None = None
        while True:
            where = span(tenant, before_id=last and split_task_key(last)[1], from_ms=None, until_ms=None)
            page = run_coroutine(self.store.list(where, only=ListFilter(status), most=most))
            assert len(page.tasks) <= most
            assert all(task.result is None for task in page.tasks)
            seen += [task.task_key for task in page.tasks]
            if page.last is None:
                break
            last = page.last
        assert seen == self.model.page(tenant, status)

    @invariant()
    def the_rows_are_the_models(self) -> None:
        rows = {str(row["id"]): row for row in self.database.rows("SELECT * FROM tasks")}
        assert set(rows) == set(self.model.tasks)
        for task_key, task in self.model.tasks.items():
            assert row_facts(rows[task_key]) == task_facts(task), task_key
        assert stored_outputs(self.database) == self._parts("outputs", tuple)
        places, values = "task_id, level, idx", "attempts, calls, final, code, message, retryable"
        assert self._stored(f"{places}, {values} FROM failures", 3) == self._parts("failures", failed_values)
        merges = {
            key: (json.loads(ends),) for key, (ends,) in self._stored("task_id, level, ends FROM merges", 2).items()
        }
        assert merges == self._parts("merges", lambda ends: (list(ends),))
        emptied = {key: (int(task.status is Status.COMPLETED),) for key, task in self.model.tasks.items()}
        assert self._stored("task_id, input = '' FROM texts") == emptied
        held = {name: astuple(item) for name, item in self.model.submissions.items()}
        assert self._stored("id, task_id, digest, expires_at, replayed FROM submissions") == held
        assert self._stored("tenant, day, characters FROM daily_use") == self.model.daily_use

    def _stored(self, wanted: str, key_columns: int = 1) -> dict[Any, Any]:
        rows = [tuple(row.values()) for row in self.database.rows(f"SELECT {wanted}")]
        return {row[0] if key_columns == 1 else row[:key_columns]: row[key_columns:] for row in rows}

    def _parts(self, name: str, seen: Callable[[Any], Any]) -> dict[Any, Any]:
        """Return the model's outputs, failures or merges of all tasks, by task and place."""
        return {
            (task_key, *(key if isinstance(key, tuple) else (key,))): seen(value)
            for task_key, task in self.model.tasks.items()
            for key, value in getattr(task, name).items()
        }


def _stopped(given: Stopped) -> tuple[bool, int]:
    return given[:2]


@pytest.mark.timeout(0 if CAMPAIGN else 300)
def test_the_store_is_the_model(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "STORE_RESEND_SECONDS", 0)
    monkeypatch.setattr(limits, "LIST_WALK_MOST", LIST_WALK_MOST)
    monkeypatch.setattr(limits, "ERASE_OUTPUTS_MOST", ERASE_OUTPUTS_MOST)
    monkeypatch.setattr(limits, "WINDOW_CHARS_MOST", WINDOW_CHARS_MOST)
    monkeypatch.setattr(limits, "SEGMENT_BYTES", SEGMENT_BYTES)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not CAMPAIGN,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
