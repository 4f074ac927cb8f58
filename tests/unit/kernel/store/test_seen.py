"""The notes about triggers, the turns to sweep, and when a client's request sends a task off again."""

import asyncio
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route, Status
from src.kernel.store.claims import Claim, Finish, Release
from src.kernel.store.seen import Backlog, Seen, TriggerHeartbeats
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import LEASE_MS, RETENTION_MS, START_MS, StoreBench, outputs

KEY = TaskKey("task")
LATE_MS = 60_000


def seen(bench: StoreBench) -> dict[str, int]:
    return {row["what"]: row["at"] for row in bench.database.rows("SELECT what, at FROM seen")}


def test_a_claim_notes_its_trigger_once_in_a_while(bench: StoreBench):
    times = []
    for second in range(0, 600, 10):
        bench.insert(f"task {second}")
        key = TaskKey(f"task {second}")
        claimed = bench.store.claim(key, holder="h", host="", route=Route.QUEUE, lease_ms=1, seen=Seen.QUEUE)
        assert isinstance(bench.run(claimed), Claim)
        times.append(seen(bench)[Seen.QUEUE] - START_MS)
        bench.pass_ms(10_000)
    assert sorted(set(times)) == [0, 150_000, 300_000, 450_000]
    assert 2 * limits.SEEN_SECONDS <= 300


def test_the_sweep_notes_itself_often_enough_for_those_who_look(bench: StoreBench):
    for _ in range(20):
        bench.run(bench.store.due(1))
        bench.pass_ms(59_999)
        assert bench.time_ms - seen(bench)[Seen.SWEEP] < 1000 * limits.SWEEP_MISSED_SECONDS - 30_000
        bench.pass_ms(1)


def test_an_isolate_does_not_repeat_itself():
    heartbeats = TriggerHeartbeats()
    assert heartbeats.due(Route.DIRECT, 0) is None
    assert heartbeats.due(Route.QUEUE, 0) is Seen.QUEUE
    heartbeats.written(Seen.QUEUE, 0)
    assert heartbeats.due(Route.QUEUE, limits.SEEN_SECONDS - 1) is None
    assert heartbeats.due(Route.DURABLE_OBJECT, 1) is Seen.ALARM
    assert heartbeats.due(Route.QUEUE, limits.SEEN_SECONDS) is Seen.QUEUE


def test_a_run_notes_the_trigger_that_began_it(make):
    bench = make()
    heartbeats = TriggerHeartbeats()

    def run(task: str, route: Route, **options: Any) -> None:
        worker = bench.worker(heartbeats=heartbeats)
        bench.do(worker.run(TaskKey(task), Host(route, 600.0, **options)))

    def noted() -> list[str]:
        return [row["what"] for row in bench.database.rows("SELECT what FROM seen ORDER BY what")]

    run("none", Route.DIRECT, stands_in=True)
    assert noted() == []
    bench.database.fail("D1_ERROR: string or blob too big: SQLITE_TOOBIG")
    with pytest.raises(Exception, match="refused"):
        run("none", Route.QUEUE)
    run("none", Route.QUEUE)
    assert noted() == ["queue"]
    run("none", Route.DURABLE_OBJECT)
    assert noted() == ["alarm", "queue"]


def test_outlook_counts_what_goes_on(bench: StoreBench):
    assert bench.run(bench.store.outlook()) == ({}, Backlog(0, 0, None))
    bench.insert("a:1")
    bench.pass_ms(5_000)
    bench.insert("b:1")
    bench.in_status(Status.PROCESSING, "b:2")
    bench.in_status(Status.COMPLETED, "b:3")
    bench.in_status(Status.CANCELLED, "c:1")
    times, backlog = bench.run(bench.store.outlook())
    assert (times, backlog) == ({}, Backlog(2, 1, 5_000))


def flags(bench: StoreBench) -> tuple[bool, bool]:
    task = bench.run(bench.store.task(KEY))
    assert task is not None
    return task.late, task.unanswered


def nudge(bench: StoreBench) -> bool:
    """Reserve a send for a poll, and check that it is granted exactly if the task is late."""
    late, _ = flags(bench)
    granted = bench.run(bench.store.nudge(KEY, LEASE_MS))
    assert granted == late
    return granted


def test_a_pending_task_is_late_a_minute_after_it_was_due(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS - 1)
    assert not nudge(bench)
    bench.pass_ms(1)
    for times in range(1, 9):
        assert nudge(bench)
        assert not nudge(bench)
        row = bench.row(KEY)
        if times <= limits.SENDS_IN_VAIN:
            wakes_at = bench.time_ms + LATE_MS  # more than a lease in this test
        assert (row["dispatches"], row["wake_at"]) == (times, wakes_at)
        bench.pass_ms(LATE_MS - 1)
        assert not nudge(bench)
        bench.pass_ms(1)


def test_what_a_poll_just_sent_is_not_the_sweeps(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS)
    for _ in range(limits.SENDS_IN_VAIN + 1):
        assert nudge(bench)
        bench.pass_ms(LATE_MS)
    stale = bench.run(bench.store.due(9))
    assert stale.idle == [KEY]
    assert nudge(bench)

    def found(delay_ms: int, *, stands_in: bool = False) -> list[TaskKey]:
        return bench.run(bench.store.due(9, delay_ms=delay_ms, stands_in=stands_in)).idle

    for delay_ms in (LEASE_MS, 10 * LATE_MS):
        bench.pass_ms(min(delay_ms, LATE_MS) - 1 - (bench.time_ms - bench.row(KEY)["sent_at"]))
        assert found(delay_ms) == []
        assert found(delay_ms, stands_in=True) == [KEY]
        assert bench.run(bench.store.take_due(stale, delay_ms)) == []
    bench.pass_ms(1)
    assert found(10 * LATE_MS) == [KEY]
    assert bench.run(bench.store.take_due(stale, 10 * LATE_MS)) == [KEY]


def test_a_task_that_no_route_takes_is_the_sweeps_at_once(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS)
    for _ in range(limits.SENDS_IN_VAIN):
        assert nudge(bench)
        bench.run(bench.store.unsent(KEY))
        before = bench.row(KEY)
        assert bench.run(bench.store.due(9, delay_ms=10 * LATE_MS)).idle == [KEY]
        bench.pass_ms(1)
        bench.run(bench.store.unsent(KEY))
        assert bench.row(KEY) == before
        bench.pass_ms(LATE_MS - 2)
        assert not nudge(bench)
        bench.pass_ms(1)
    assert nudge(bench)
    claim = bench.claim()
    before = bench.row(KEY)
    bench.run(bench.store.unsent(KEY))  # a worker has claimed the task, so the note is late
    assert bench.row(KEY) == before
    assert bench.step(claim)


def test_that_no_route_took_a_task_is_nothing_to_who_stands_in(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS)
    assert nudge(bench)
    asked = bench.store.claim(KEY, holder="h", host="", route=Route.DIRECT, lease_ms=LEASE_MS, stands_in=True)
    claim = bench.run(asked)
    assert isinstance(claim, Claim)
    before = bench.row(KEY)
    bench.run(bench.store.unsent(KEY))
    assert bench.row(KEY) == before
    assert bench.step(claim, Finish(RETENTION_MS), outputs=outputs(0, 1), completed=2)
    ended = bench.row(KEY)
    bench.run(bench.store.unsent(KEY))
    assert bench.row(KEY) == ended
    assert (ended["dispatches"], ended["wake_at"]) == (1, bench.time_ms + RETENTION_MS)


def test_what_was_given_back_may_be_sent_by_a_poll_at_once(bench: StoreBench):
    bench.insert()
    for delay_ms in (LEASE_MS, 10 * LATE_MS):
        bench.pass_ms(delay_ms)
        assert bench.run(bench.store.take_due(bench.run(bench.store.due(9)), LEASE_MS)) == [KEY]
    assert not nudge(bench)
    for _ in range(2):
        bench.run(bench.store.make_due([KEY]))
    assert bench.run(bench.store.due(9, delay_ms=10 * LATE_MS)).idle == [KEY]
    assert nudge(bench)


def test_a_dead_workers_task_is_late_a_minute_after_its_lease(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS - 1)
    claim = bench.claim()
    bench.pass_ms(LEASE_MS - 1)
    assert bench.step(claim)
    bench.pass_ms(LEASE_MS + LATE_MS - 1)
    assert not nudge(bench)
    bench.pass_ms(1)
    assert nudge(bench)


def test_after_two_sendings_in_vain_the_task_is_unanswered(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS)
    for _ in range(limits.SENDS_IN_VAIN):
        assert flags(bench) == (True, False)
        assert nudge(bench)
        assert flags(bench) == (False, False)
        bench.pass_ms(LATE_MS)
    assert flags(bench) == (True, True)
    claim = bench.run(
        bench.store.claim(KEY, holder="poll", host="", route=Route.DIRECT, lease_ms=LEASE_MS, stands_in=True)
    )
    assert isinstance(claim, Claim)
    assert flags(bench) == (False, False)
    assert bench.step(claim, Release(0, 0))
    assert flags(bench)[1]  # the next poll may run the task at once
    claim = bench.claim()
    assert bench.step(claim, Release(0, 0))
    assert flags(bench) == (False, False)


def test_a_nudge_that_lands_late_or_twice_does_no_harm(bench: StoreBench):
    bench.insert()
    bench.pass_ms(LEASE_MS + LATE_MS)
    bench.database.fail(NETWORK_LOST, "after")
    assert bench.run(bench.store.nudge(KEY, LEASE_MS)) is False
    assert bench.row(KEY)["dispatches"] == 1
    bench.pass_ms(LATE_MS)
    bench.database.fail(NETWORK_LOST, "later")
    bench.database.fail(NETWORK_LOST, times=2)
    with pytest.raises(Exception, match="reach"):
        bench.run(bench.store.nudge(KEY, LEASE_MS))
    bench.claim()
    before = bench.row(KEY)
    asyncio.run(bench.database.land())
    assert bench.row(KEY) == before
