"""Runs on a full or nearly full database: no call is paid for whose output could not be stored."""

import asyncio
from base64 import b64encode
from random import Random
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.database_state import MB, StorageUse
from src.kernel.domain.errors import StoreUnavailable
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended, Released
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.worker_bench import WorkerBench

# A model's output that needs a new page of the database, compressed or not.
LONG = b64encode(Random(1).randbytes(9_000)).decode()
RESTS = Released(limits.STORAGE_PAUSE_SECONDS)


def fill(bench: WorkerBench, *, told: bool = True, room_pages: int = 0) -> None:
    """Let the database grow by so many pages; with `told` its replies report the limit."""
    cap = bench.database.cap
    cap.hold(cap.pages + room_pages)
    cap.told = told


def row(bench: WorkerBench) -> dict[str, Any]:
    (found,) = bench.database.rows("SELECT * FROM tasks")
    return found


@pytest.mark.parametrize("knows", [True, False], ids=["known", "fresh isolate"])
def test_a_run_that_cannot_store_starts_no_call(bench: WorkerBench, *, knows: bool):
    bench.insert(4)
    fill(bench)
    if knows:
        bench.task()  # any reply reports it
    assert bench.run() == RESTS
    assert bench.model.calls == []
    task = row(bench)
    assert (task["status"], task["in_flight"], task["stalls"], task["idle_runs"]) == ("pending", "[]", 0, 0)
    assert bench.task().usage.model_calls == 0
    bench.database.cap.lift()
    bench.loop.run_until_complete(_sleep(limits.STORAGE_PAUSE_SECONDS))
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
    bench.loop.run_until_complete(_sleep(2 * bench.settings.lease_seconds))
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
    """Its size at the bound, or a write that found no space."""
    storage = StorageUse()
    storage.measured(size, 1.0)
    if full:
        storage.found_full(1.0)
    assert storage.is_tight(100) is tight
    storage.took_task()
    assert storage.is_tight(100) is tight  # a new task that finds space does not prove that outputs find space, too
    storage.found_room()
    assert storage.is_tight(100) is (size >= 100)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_the_cause_is_in_the_log(bench: WorkerBench):
    """If a task waits because the database is full, the log has the event `storage_full` with the database's size."""
    bench.insert(1)
    fill(bench)
    bench.run()
    (line,) = bench.events("storage_full")
    assert line["bytes"] >= 450 * MB
