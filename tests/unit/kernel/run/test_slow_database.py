"""Runs on a slow, absent or full database go on where they can, write little, and pay for no lost output."""

import asyncio
from base64 import b64encode
from random import Random
from typing import Any

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.database_state import MB, StorageUse
from src.kernel.domain.errors import CallNotStarted, StoreUnavailable
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.work.worker import Host
from src.objects.lane import Lane
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.worker_bench import WorkerBench


def row(bench: WorkerBench) -> dict[str, Any]:
    (found,) = bench.database.rows("SELECT * FROM tasks")
    return found


def note_windows(bench: WorkerBench) -> list[tuple[int, int]]:
    """Record how late after its announcement each call starts, by the database's clock, and the stored start window."""
    noted: list[tuple[int, int]] = []
    infer = bench.model.infer

    async def noting(call: ModelCall) -> ModelReply:
        task = row(bench)
        noted.append((bench.database.now_ms() - task["announced_at"], task["start_ms"]))
        return await infer(call)

    bench.model.infer = noting  # type: ignore[method-assign]
    return noted


def test_what_an_isolate_knows_spares_the_next_task_the_try(make):
    bench = make()
    bench.insert(12)
    noted = note_windows(bench)
    bench.latency.note(5.0, 0.0)
    bench.database.seconds = 5.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert noted[0][1] == 11_000
    assert bench.events("call_not_started") == []


def test_calls_start_within_the_window_that_is_stored(make):
    bench = make()
    bench.insert(90)
    noted = note_windows(bench)
    bench.model.act = lambda call, number: setattr(bench.database, "seconds", 4.0 if 6 < number <= 18 else 0.0)
    assert bench.run() == Ended(Status.COMPLETED)
    assert all(late <= window for late, window in noted)
    windows = [window for _, window in noted]
    assert (windows[0], max(windows), windows[-1]) == (2_000, 9_000, 2_000)


def test_lanes_keep_the_longest_window(make):
    """A lane reads the window when it starts calls, so a cancellation must wait for the longest."""
    bench = make()
    bench.insert(60)
    noted = note_windows(bench)
    bench.model.act = lambda call, number: setattr(bench.database, "seconds", 4.0 if 12 < number <= 24 else 0.0)
    assert bench.run(bench.laned_host()) == Ended(Status.COMPLETED)
    windows = [window for _, window in noted]
    assert (windows[0], max(windows), windows[-1]) == (2_000, 9_000, 9_000)


def test_a_write_without_an_answer_was_slow(make):
    bench = make()
    bench.insert(12)

    def hang(call: ModelCall, number: int) -> None:
        if number == 1:
            bench.database.seconds = 70.0
            bench.loop.call_later(20, setattr, bench.database, "seconds", 0.0)

    bench.model.act = hang
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.latency.seconds(bench.loop.time()) >= 5


def test_a_claim_without_an_answer_was_slow(make):
    bench = make()
    bench.insert(1)
    bench.database.seconds = 70.0
    with pytest.raises(StoreUnavailable):
        bench.run()
    assert bench.latency.seconds(bench.loop.time()) == limits.STORE_SECONDS


@pytest.mark.parametrize("known", [True, False])
def test_the_lease_lasts_as_long_as_a_call_that_starts_late(make, *, known: bool):
    bench = make(timeout_seconds=10, lease_seconds=11)
    bench.insert(1)
    bench.database.seconds = 5.0
    if known:
        bench.latency.note(5.0, 0.0)
    leases: list[int] = []
    bench.model.act = lambda call, number: leases.append(row(bench)["lease_until"] - row(bench)["announced_at"])
    bench.run()
    assert leases == [round(1000 * (11 + 10 + limits.LINGER_SECONDS_MOST))]


def test_no_window_reaches_beyond_the_end_of_the_slice(make):
    """A call that started later would be out when the platform ends the invocation."""
    bench = make()
    bench.insert(1)
    bench.latency.note(8.0, 0.0)
    bench.database.seconds = 8.0
    assert isinstance(bench.run(Host(Route.DIRECT, 5.0)), Released)
    assert bench.model.calls == []
    bench.latency.note(8.0, bench.loop.time())
    bench.do(asyncio.sleep(60))
    assert bench.run(Host(Route.DIRECT, 30.0)) == Ended(Status.COMPLETED)


@pytest.mark.parametrize(("start_ms", "made"), [(2_000, False), (17_000, True)])
def test_a_lane_has_the_window_of_the_announcement(make, start_ms: int, *, made: bool):
    bench = make()
    bench.insert(1)
    task_key = bench.task().task_key
    bench.do(bench.store.claim(task_key, holder="h", host="", route=Route.QUEUE, lease_ms=99_000, start_ms=start_ms))
    bench.database.seconds = 8.0
    (told,) = bench.do(Lane().infer(bench.worker(), task_key, 1, [wire.write_call(ModelCall("", "x", ""))]))
    assert ("output" in told, len(bench.model.calls)) == (made, int(made))
    assert [call.task_key for _, call in bench.model.calls] == [task_key] * made


def test_a_run_that_starts_nothing_gives_its_task_back(make):
    """After three announcements in vain a run gives its task back, each time for longer, without an attempt."""
    bench = make()
    bench.insert(3)
    bench.database.seconds = 25.0
    writes, delays = [], []
    for _ in range(9):
        before = bench.database.batches
        outcome = bench.run()
        assert isinstance(outcome, Released)
        writes.append(bench.database.batches - before)
        delays.append(outcome.delay_seconds)
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert writes[0] == 1 + 2 + 1  # the first claim announces
    assert max(writes[1:]) <= 1 + 3 + 1
    task = row(bench)
    assert (task["idle_runs"], task["attempts"], task["stalls"], bench.model.calls) == (9, 1, 0, [])
    bench.database.seconds = 0.0
    assert bench.run() == Ended(Status.COMPLETED)
    assert (row(bench)["idle_runs"], len(bench.model.calls)) == (0, 3)


def test_paid_outputs_wait_for_their_turn(make):
    bench = make()
    bench.insert(6)
    # After one idle run, the run may make two writes at first: the claim and the announcement.
    bench.database.rows("UPDATE tasks SET idle_runs = 1")
    bench.model.seconds = float
    bench.model.act = lambda call, number: bench.database.fail(NETWORK_LOST, times=3) if number == 1 else None
    before = bench.database.batches
    assert bench.run() == Ended(Status.COMPLETED)
    assert bench.loop.time() > 29
    # The D1 calls are the claim, three sends in vain, the write of the first call, and one write for all others.
    assert bench.database.batches - before == 1 + 3 + 1 + 1
    assert len(bench.model.calls) == 6 == bench.task().usage.model_calls


@pytest.mark.parametrize(("seconds", "announced_at"), [(10.0, 10), (100.0, 30)])
def test_a_run_without_a_turn_waits_for_its_calls_or_the_turn(make, seconds: float, announced_at: float):
    bench = make(concurrency=2)
    bench.insert(3)
    bench.database.rows("UPDATE tasks SET idle_runs = 1, started_at = created_at")  # the claim announces nothing
    bench.model.act = lambda call, number: CallNotStarted("late") if number in {3, 4} else None
    bench.model.seconds = lambda number: seconds if number == 2 else 1.0
    assert bench.run() == Ended(Status.COMPLETED)
    # The third model call waits until the first one is recorded. The fourth model call waits until the third is
    # recorded, and for a pause. The fifth model call waits until the second has ended or the turn to write comes.
    assert [at for at, _ in bench.model.calls] == pytest.approx([0, 0, 1.2, 3.4, announced_at], abs=0.2)


SLICE = Host(Route.QUEUE, 5.0)


@pytest.mark.parametrize("seconds", [4.5, 6.0])
def test_a_database_that_outlasts_the_slice_is_left_alone(bench: WorkerBench, seconds: float):
    """In this test the database is so slow that the slice ends before its calls could start."""
    bench.insert(12)
    bench.database.seconds = seconds
    delays = []
    for _ in range(4):
        outcome = bench.run(SLICE)
        assert isinstance(outcome, Released)
        delays.append(outcome.delay_seconds)
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert delays == [limits.IDLE_SECONDS_FIRST * 2**run for run in range(4)]
    assert bench.model.calls == []
    assert (bench.task().usage.model_calls, bench.task().attempts) == (0, 1)


def test_a_merge_goes_on_after_an_idle_run(bench: WorkerBench):
    bench.insert(6, Reduce.MERGE)
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert bench.task().completed == 6
    bench.database.seconds = 6.0
    assert isinstance(bench.run(SLICE), Released)
    assert [line["idle_runs"] for line in bench.events("run_idle")] == [1]
    bench.do(asyncio.sleep(limits.IDLE_SECONDS_FIRST))
    bench.database.seconds = 0.0
    assert bench.run() == Ended(Status.COMPLETED)


# A model's output that needs a new page of the database, compressed or not.
LONG = b64encode(Random(1).randbytes(9_000)).decode()
RESTS = Released(limits.STORAGE_PAUSE_SECONDS)


def fill(bench: WorkerBench, *, told: bool = True, room_pages: int = 0) -> None:
    """Let the database grow by so many pages; with `told` its replies report the limit."""
    cap = bench.database.cap
    cap.hold(cap.pages + room_pages)
    cap.told = told


@pytest.mark.parametrize("knows", [True, False], ids=["known", "fresh isolate"])
def test_a_run_that_cannot_store_starts_no_call(bench: WorkerBench, *, knows: bool):
    bench.insert(4)
    fill(bench)
    if knows:
        bench.task()  # any reply reports it
    assert bench.run() == RESTS
    assert bench.model.calls == []
    (line,) = bench.events("storage_full")
    assert line["bytes"] >= 450 * MB
    task = row(bench)
    assert (task["status"], task["in_flight"], task["stalls"], task["idle_runs"]) == ("pending", "[]", 0, 0)
    assert bench.task().usage.model_calls == 0
    bench.database.cap.lift()
    bench.do(asyncio.sleep(limits.STORAGE_PAUSE_SECONDS))
    assert bench.run() == Ended(Status.COMPLETED)
    assert (len(bench.model.calls), bench.task().usage.in_doubt) == (4, 0)


def test_a_claim_on_a_nearly_full_database_announces_no_call(bench: WorkerBench):
    """A run that dies after such a claim leaves no call in doubt, because it has made none."""
    bench.storage.found_full(0.0)
    bench.insert(4)
    bench.database.fail(NETWORK_LOST, passing=1, times=1_000)  # only the claim succeeds
    with pytest.raises(StoreUnavailable):
        bench.run()
    assert (row(bench)["status"], row(bench)["in_flight"]) == ("processing", "[]")
    bench.database.heal()
    bench.do(asyncio.sleep(2 * bench.settings.lease_seconds))
    assert bench.run() == Ended(Status.COMPLETED)
    usage = bench.task().usage
    assert (len(bench.model.calls), usage.model_calls, usage.in_doubt) == (4, 4, 0)


def test_a_database_over_its_bound_with_room_costs_a_write_more_and_no_call(bench: WorkerBench):
    bench.insert(8)
    fill(bench, room_pages=1_000)
    before = bench.database.cap.pages
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 8
    assert bench.database.cap.pages - before <= 2
    assert bench.events("storage_full") == []


def test_a_write_that_found_no_room_keeps_its_number(bench: WorkerBench):
    """The number of a write that found no space is not used again, since an earlier send of it may still land."""
    bench.insert(12)

    def act(_call: Any, number: int) -> str:
        if number == 6:
            fill(bench, room_pages=1)
        return "short"

    bench.model.act = act
    assert bench.run() == RESTS
    # The run's first write recorded six outputs, its second write found no space, and its third write gave the task
    # back.
    assert row(bench)["step"] == 3


def test_writes_that_a_full_database_refuses_take_no_turn(bench: WorkerBench):
    """It tries again after doubling pauses, and not after half a minute, when direct runs have ended."""
    bench.insert(1)

    def act(_call: Any, _number: int) -> str:
        fill(bench, told=False)
        bench.loop.call_later(10, bench.database.cap.lift)
        return LONG

    bench.model.act = act
    assert bench.run() == Ended(Status.COMPLETED)
    assert 10 < bench.loop.time() < 20
    assert (len(bench.model.calls), bench.task().usage.in_doubt) == (1, 0)


def test_a_claim_that_finds_no_room_leaves_the_task_as_it_was(bench: WorkerBench):
    bench.insert(2)
    before = row(bench)
    bench.database.fail("D1_ERROR: Exceeded maximum DB size")
    with pytest.raises(Exception, match="full"):
        bench.run()
    assert row(bench) == before


@pytest.mark.parametrize(("full", "size", "tight"), [(False, 99, False), (False, 100, True), (True, 1, True)])
def test_what_makes_a_database_tight(full: bool, size: int, tight: bool):
    storage = StorageUse()
    storage.measured(size, 1.0)
    if full:
        storage.found_full(1.0)
    assert storage.is_tight(100) is tight
    storage.took_task()
    assert storage.is_tight(100) is tight  # a new task that finds space does not prove that outputs find space, too
    storage.found_room()
    assert storage.is_tight(100) is (size >= 100)
