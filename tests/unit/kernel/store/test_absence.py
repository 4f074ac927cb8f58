"""The end of pauses changes nothing when it is late or double; what retries leave, and who has a slot or a claim."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Failure, LastError, Wait
from src.kernel.store.absence import AbsenceStore
from src.kernel.store.admission import Accepted
from src.kernel.store.claims import CallKey, Claim, Continue, Fail, FailedCall, Release, Tries
from src.kernel.store.options import AnswerCounts
from tests.support.store_bench import FAILURE, LEASE_MS, RETENTION_MS, StoreBench, outputs

TASK = TaskKey("task")
PAUSE_MS = 60_000


def wait(bench: StoreBench, reason: str = "model_away", **told: Any) -> Claim:
    """Let a task find its model away, and give it back for a minute."""
    bench.insert(TASK)
    claim = bench.claim(TASK)
    now = bench.time_ms
    error = LastError(TaskCode.MODEL_UNAVAILABLE, "502", now, 0, 3, now)
    told = {"away_since": now, "away_waits": 3, "last_error": error, "wait": Wait(reason, now + PAUSE_MS), **told}
    assert bench.step(claim, Release(PAUSE_MS, PAUSE_MS + LEASE_MS), **told)
    bench.pass_ms(1)
    return claim


def end(bench: StoreBench) -> int:
    ended: int = bench.run(bench.store.beside(AbsenceStore).end_pauses([TASK]))
    return ended


def test_a_task_that_waits_for_its_model_goes_on(bench: StoreBench) -> None:
    """The task is due at once, its count of failed probes stays, and the next claim knows that it was resumed."""
    wait(bench)
    assert end(bench) == 1
    row = bench.row(TASK)
    assert (row["status"], row["wait_reason"], row["away_waits"]) == ("pending", None, 3)
    claim = bench.claim(TASK)
    assert (claim.resumed, claim.away_waits) == (True, 3)


def test_a_second_end_changes_nothing(bench: StoreBench) -> None:
    """A request that is repeated, or that lands after the task's next claim, ends no pause of a task at work."""
    wait(bench)
    assert end(bench) == 1
    before = bench.row(TASK)
    assert end(bench) == 0
    assert bench.row(TASK) == before
    claim = bench.claim(TASK)
    assert bench.step(claim, Continue(LEASE_MS), in_flight=[CallKey(0, 0)])
    before = bench.row(TASK)
    assert end(bench) == 0
    assert bench.row(TASK) == before


def test_a_late_copy_of_the_release_brings_no_pause_back(bench: StoreBench) -> None:
    """The fence has risen, so the run that waited, and a copy of its release, change nothing."""
    claim = wait(bench)
    assert end(bench) == 1
    before = bench.row(TASK)
    assert not bench.step(claim, Release(PAUSE_MS, PAUSE_MS + LEASE_MS))
    assert bench.row(TASK) == before


def test_a_run_that_waits_loses_its_task(bench: StoreBench) -> None:
    """A run that waits in its isolate announces no call any more: its claim is over."""
    bench.insert(TASK)
    claim = bench.claim(TASK)
    assert bench.step(claim, Continue(LEASE_MS), away_waits=2, wait=Wait("model_away", bench.time_ms + PAUSE_MS))
    assert end(bench) == 1
    assert not bench.step(claim, Continue(LEASE_MS), in_flight=[CallKey(0, 0)])
    assert bench.claim(TASK).fence == claim.fence + 2


@pytest.mark.parametrize("reason", ["rate_limited", "backoff", "database", "quota", "paced", "scheduled"])
def test_other_pauses_stay(bench: StoreBench, reason: str) -> None:
    wait(bench, reason)
    before = bench.row(TASK)
    assert end(bench) == 0
    assert bench.row(TASK) == before


def test_a_pause_that_the_provider_asked_for_stays(bench: StoreBench) -> None:
    """The model is away and has sent `Retry-After`: the pause can be ended only when that time is over."""
    wait(bench, asked_until=bench.time_ms + PAUSE_MS)
    assert end(bench) == 0
    assert bench.run(bench.store.beside(AbsenceStore).paused("m", 9)) == []
    bench.pass_ms(PAUSE_MS)
    assert end(bench) == 1


def test_calls_in_flight_are_left_alone(bench: StoreBench) -> None:
    """A task whose probe is out goes on with it, and a worker that may have died is left to the take-over."""
    bench.insert(TASK)
    claim = bench.claim(TASK)
    waiting = Wait("model_away", bench.time_ms + PAUSE_MS)
    assert bench.step(claim, Continue(LEASE_MS), in_flight=[CallKey(0, 0)], wait=waiting)
    assert end(bench) == 0
    assert bench.step(claim, Continue(LEASE_MS), wait=waiting)
    bench.pass_ms(LEASE_MS + 1)
    assert end(bench) == 0


def test_the_task_that_failed_least_recently_comes_first(bench: StoreBench) -> None:
    """So a second try is made by another task, should the text of the first be the trouble."""
    store = bench.store.beside(AbsenceStore)
    now = bench.time_ms
    for name, at in (("a", 3), ("b", 1), ("c", None)):
        bench.insert(name)
        error = None if at is None else LastError(TaskCode.MODEL_TIMEOUT, "late", now + at, 0, 1, now)
        told = {"last_error": error, "wait": Wait("model_away", None)}
        assert bench.step(bench.claim(name), Release(PAUSE_MS, PAUSE_MS), **told)
    found = bench.run(store.paused("m", 2))
    assert [(task.task_key, task.model) for task in found] == [("c", "m"), ("b", "m")]


GAP = Failure.of("model_refused", "400", False)


def fail_with_gap(bench: StoreBench, name: str) -> None:
    bench.insert(name, structure=Structure(gaps=True))
    claim = bench.claim(name)
    gap = FailedCall(CallKey(0, 1), Tries(1, 1), True, GAP, gap_chars=1)
    told: dict[str, Any] = {"completed": 1, "failures": [gap], "failed": 1, "answer_counts": AnswerCounts(coverage=0.5)}
    assert bench.step(claim, Fail(RETENTION_MS, FAILURE), outputs=outputs(0), **told)
    assert (bench.row(name)["failed"], bench.row(name)["coverage"]) == (1, 0.5)


def test_a_retried_task_has_no_failed_chunk_if_its_gaps_open_again(bench: StoreBench) -> None:
    fail_with_gap(bench, "one")
    fail_with_gap(bench, "other")
    bench.database.rows("UPDATE tasks SET dispatches = 3")
    assert bench.run(bench.store.retry(TaskKey("one"), LEASE_MS)) == Accepted()
    assert [bench.row("one")[name] for name in ("failed", "coverage", "dispatches")] == [0, None, 0]
    assert (bench.row("other")["failed"], bench.row("other")["coverage"]) == (1, 0.5)


STANDING, OTHER = TaskKey("local:m"), TaskKey("local:n")


def may_start(bench: StoreBench, task_key: TaskKey) -> int | None:
    return bench.run(bench.store.may_start(task_key, 1))


@pytest.mark.parametrize(("ended", "going_on"), [(STANDING, OTHER), (OTHER, STANDING)])
def test_a_lane_starts_no_call_of_an_ended_task_while_another_task_goes_on(
    bench: StoreBench, ended: TaskKey, going_on: TaskKey
) -> None:
    for task_key in (STANDING, OTHER):
        bench.insert(task_key)
        assert bench.claim(task_key).fence == 1
    assert bench.run(bench.store.cancel(ended, RETENTION_MS))[0]
    assert may_start(bench, ended) is None
    assert may_start(bench, going_on) is not None


@pytest.mark.parametrize("claimed", [(STANDING, OTHER), (OTHER, STANDING)])
def test_each_task_has_its_own_time_in_which_calls_may_start(
    bench: StoreBench, claimed: tuple[TaskKey, TaskKey]
) -> None:
    deadlines = {STANDING: 500, OTHER: 1_500}
    for task_key in claimed:
        bench.insert(task_key, deadline_ms=deadlines[task_key])
        bench.claim(task_key)
    assert {task_key: may_start(bench, task_key) for task_key in deadlines} == deadlines


@pytest.fixture
def slotted() -> Iterator[StoreBench]:
    made = StoreBench()
    made.insert("t:1")
    made.database.rows("UPDATE tasks SET route = 'durable-object'")
    yield made
    made.database.close()


@pytest.mark.parametrize(("early_ms", "given"), [(-1, ["t:1"]), (0, ["t:1"]), (1, [])])
def test_a_task_gets_a_slot_from_the_moment_at_which_it_may_go_on(
    slotted: StoreBench, early_ms: int, given: list[str]
) -> None:
    slotted.database.rows("UPDATE tasks SET not_before = ?", slotted.time_ms + early_ms)
    assert slotted.run(slotted.store.fill_slots(most=2, give_most=2)) == [TaskKey(name) for name in given]


def test_a_task_that_has_a_slot_gets_no_other(slotted: StoreBench) -> None:
    task_key = TaskKey("t:1")
    assert slotted.run(slotted.store.give_slots([task_key], 2)) == [task_key]
    assert slotted.run(slotted.store.give_slots([task_key], 2)) == []
