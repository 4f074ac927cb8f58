"""A write that was given up lands half a minute later, and must change nothing."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.domain import limits
from src.kernel.domain.errors import StoreSilent, StoreUnavailable
from src.kernel.domain.ids import LOCAL, TaskKey, new_task_id, task_key_of
from src.kernel.domain.keys import Scope
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Reduce, Status
from src.kernel.store.admission import Accepted, Conditions, Replayed
from src.kernel.store.claims import CallKey, Claim, Continue, Fail, Finish, Next, Release
from src.kernel.store.d1 import Database
from src.kernel.store.keys import KeyStore, NewKey
from tests.conformance.cases.steps import outputs, progress
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import NETWORK_LOST, SqliteD1
from tests.support.store_bench import FAILURE, LEASE_MS, RETENTION_MS, START_MS, StoreBench, new_task

TASK = task_key_of(LOCAL, new_task_id(START_MS, b"0123456789"))
NEW = new_task(TASK, 3, Reduce.CONCAT, START_MS)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreBench]:
    monkeypatch.setattr(limits, "STORE_RESEND_SECONDS", 0)
    made = StoreBench()
    yield made
    made.database.close()


def everything(bench: StoreBench) -> list[Any]:
    return [
        bench.database.rows(f"SELECT * FROM {table}")  # noqa: S608 - a constant
        for table in ("tasks", "texts", "segments", "failures", "submissions", "merges")
    ]


def lands(bench: StoreBench) -> bool:
    before = everything(bench)
    bench.run(bench.database.land())
    return everything(bench) != before


def claimed(bench: StoreBench) -> Claim:
    bench.run(bench.store.insert(NEW, LEASE_MS))
    return bench.claim(TASK)


STEPS = [Continue(LEASE_MS), Release(0, LEASE_MS), Finish(RETENTION_MS), Fail(RETENTION_MS, FAILURE)]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_write_under_a_claim_that_lands_after_the_next_one_rewinds_nothing(bench: StoreBench, step: Next):
    claim = claimed(bench)
    early = progress(claim, in_flight=[CallKey(0, 1)], calls_settled=1, outputs=outputs(0, 1, 2), completed=3)
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.step(claim, early, step))
    late = progress(claim, in_flight=[CallKey(0, 2)], calls_settled=2, outputs=outputs(0), completed=1)
    assert bench.run(bench.store.step(claim, late, Continue(LEASE_MS)))
    assert not lands(bench)
    assert bench.row(TASK)["calls_settled"] == 2


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_write_that_lands_after_the_task_was_given_back_without_it_changes_nothing(bench: StoreBench, step: Next):
    claim = claimed(bench)
    made = progress(claim, in_flight=[CallKey(0, 1)], calls_settled=3, outputs=outputs(0, 1, 2), completed=3)
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.step(claim, made, step))
    assert bench.run(bench.store.stand_down(claim, made, Release(600_000, 660_000)))
    assert not lands(bench)
    assert bench.row(TASK)["calls_settled"] == 0


@pytest.mark.parametrize("landed", ["before the next one", "after the next one"])
def test_a_write_that_was_given_up_doubles_and_rewinds_nothing(bench: StoreBench, landed: str):
    claim = claimed(bench)
    early = progress(claim, step=1, first_step=1, outputs=outputs(0), completed=1, calls_settled=1)
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.step(claim, early, Continue(LEASE_MS)))
    assert landed == "after the next one" or lands(bench)
    late = progress(claim, step=2, first_step=1, tries=(1,), outputs=outputs(0, 1), completed=2, calls_settled=2)
    assert bench.run(bench.store.step(claim, late, Continue(LEASE_MS)))
    assert not lands(bench)
    assert (bench.row(TASK)["completed"], bench.row(TASK)["calls_settled"]) == (2, 2)
    found = bench.run(bench.store.chunks(TASK)) or []
    assert [chunk.output for chunk in found] == ["output 0", "output 1"]
    assert [row["places"] for row in bench.database.rows("SELECT places FROM segments")] == ["0,1"]


def test_a_submission_that_lands_again_leaves_the_task_to_its_worker(bench: StoreBench):
    claim = claimed(bench)
    assert bench.step(claim, outputs=outputs(0), completed=1)
    before = everything(bench)
    bench.pass_ms(1_000)
    bench.run(bench.store.insert(NEW, LEASE_MS))
    assert everything(bench) == before
    assert bench.step(claim, outputs=outputs(1), completed=2)


@pytest.mark.parametrize("answered", [0, 1], ids=["the first asking", "the second asking"])
def test_an_objects_claim_that_lands_after_its_successors_takes_nothing_over(bench: StoreBench, answered: int):
    bench.run(bench.store.insert(NEW, LEASE_MS))
    bench.claim(TASK, host="object/task")
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS, passing=answered)
    with pytest.raises(StoreUnavailable):
        bench.try_claim(TASK, host="object/task")
    successor = bench.claim(TASK, host="object/task")
    assert bench.step(successor, in_flight=[CallKey(0, 0)])
    assert not lands(bench)
    assert bench.row(TASK)["fence"] == successor.fence == 2


def test_only_a_take_over_from_itself_asks_twice(bench: StoreBench):
    bench.run(bench.store.insert(NEW, LEASE_MS))
    asked = []
    for claim in (bench.claim, bench.claim, bench.claim):
        before = bench.database.batches
        claim(TASK, host="object/task")
        asked.append(bench.database.batches - before)
    before = bench.database.batches
    bench.try_claim(TASK, host="")
    assert (asked, bench.database.batches - before) == ([1, 2, 2], 1)


def put_back(bench: StoreBench) -> None:
    assert bench.run(bench.store.retry(TASK, LEASE_MS))


def cancel(bench: StoreBench) -> Any:
    return bench.run(bench.store.cancel(TASK, RETENTION_MS))


def test_a_cancellation_that_lands_after_a_retry_cancels_nothing(bench: StoreBench):
    claimed(bench)
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS, passing=1)
    with pytest.raises(StoreUnavailable):
        cancel(bench)
    assert cancel(bench)[0]
    put_back(bench)
    assert not lands(bench)
    assert bench.row(TASK)["status"] == Status.PENDING


def test_a_retry_that_lands_after_the_task_has_ended_again_puts_nothing_back(bench: StoreBench):
    claimed(bench)
    cancel(bench)
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS, passing=1)
    with pytest.raises(StoreUnavailable):
        put_back(bench)
    put_back(bench)
    cancel(bench)
    assert not lands(bench)
    assert bench.row(TASK)["status"] == Status.CANCELLED


def test_a_dead_letter_that_lands_after_another_claim_fails_nothing(bench: StoreBench):
    bench.run(bench.store.insert(NEW, LEASE_MS))
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS, passing=1)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.dead_letter(TASK, FAILURE, RETENTION_MS))
    assert bench.step(bench.claim(TASK), Release(0, LEASE_MS))
    assert not lands(bench)


def submit_in_vain(bench: StoreBench) -> None:
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS)
    with pytest.raises(StoreUnavailable):
        bench.run(bench.store.insert(NEW, LEASE_MS))


def erase(bench: StoreBench) -> None:
    bench.run(bench.store.insert(NEW, LEASE_MS))
    bench.run(bench.store.erase(TASK))


def withdraw(bench: StoreBench) -> None:
    bench.run(bench.store.withdraw(NEW))


@pytest.mark.parametrize("end", [erase, withdraw])
def test_a_submission_that_lands_late_brings_nothing_back(bench: StoreBench, end: Callable[[StoreBench], None]):
    submit_in_vain(bench)
    end(bench)
    assert not lands(bench)
    assert not any(everything(bench))


@pytest.mark.parametrize("later_ms", [0, 86_400_000])
def test_a_withdrawal_frees_nothing_of_another_day(bench: StoreBench, later_ms: int):
    on = Conditions(characters_a_day_most=1_000_000)
    bench.run(bench.store.insert(NEW, LEASE_MS, on))
    bench.pass_ms(later_ms)
    other = new_task(task_key_of(LOCAL, new_task_id(bench.time_ms, b"other12345")), 3, Reduce.CONCAT, bench.time_ms)
    bench.run(bench.store.insert(other, LEASE_MS, on))
    bench.run(bench.store.withdraw(NEW, on))
    assert bench.database.rows("SELECT characters FROM daily_use") == [{"characters": other.characters}]


KEY = NewKey(id="0" * 16, tenant=LOCAL, digest="0" * 64, scopes=frozenset({Scope.READ}), label=None, valid_ms=None)


def keys_of(bench: StoreBench) -> KeyStore:
    return KeyStore(Database(bench.database, Meter()))


def revoke(bench: StoreBench) -> None:
    assert bench.run(keys_of(bench).insert(KEY)) is not None
    assert bench.run(keys_of(bench).delete(LOCAL, KEY.id))


@pytest.mark.parametrize("end", [erase, withdraw, revoke])
def test_a_tombstone_outlasts_every_sweep_of_its_hour(bench: StoreBench, end: Callable[[StoreBench], None]):
    end(bench)
    outlasts(bench)


def outlasts(bench: StoreBench) -> None:
    """Check that the only tombstone stays for exactly an hour."""
    hour_ms = round(limits.LATE_SECONDS_MOST * 1000)
    for _ in range(hour_ms // 60_000 - 1):
        bench.pass_ms(60_000)
        bench.run(bench.store.due(10))
        assert len(bench.database.rows("SELECT id FROM tombstones")) == 1
    bench.pass_ms(59_999)
    bench.run(bench.store.due(10))
    assert len(bench.database.rows("SELECT id FROM tombstones")) == 1
    bench.pass_ms(1)
    bench.run(bench.store.due(10))
    assert bench.database.rows("SELECT id FROM tombstones") == []


def test_a_key_taken_anew_was_not_replayed(bench: StoreBench):
    on = Conditions(idempotency_key="key", digest="d")
    first, twin, second = (
        new_task(task_key_of(LOCAL, new_task_id(START_MS + at, bytes(10))), 3, Reduce.CONCAT, START_MS)
        for at in range(3)
    )
    bench.run(bench.store.insert(first, LEASE_MS, on))
    assert isinstance(bench.run(bench.store.insert(twin, LEASE_MS, on)), Replayed)
    bench.run(bench.store.withdraw(first, on))
    # A repeated request was answered with the task, so the task is kept.
    assert bench.run(bench.store.is_there(first.task_key))
    bench.pass_ms(limits.IDEMPOTENCY_SECONDS * 1000)
    assert isinstance(bench.run(bench.store.insert(second, LEASE_MS, on)), Accepted)
    bench.run(bench.store.withdraw(second, on))
    assert not bench.run(bench.store.is_there(second.task_key))


def test_a_revoked_key_does_not_come_back(bench: StoreBench):
    bench.database.fail(NETWORK_LOST, "later")
    revoke(bench)
    bench.run(bench.database.land())
    assert bench.run(keys_of(bench).list(LOCAL)) == []


def test_nobody_revokes_a_strangers_key_by_its_tombstone(bench: StoreBench):
    bench.run(keys_of(bench).insert(KEY))
    assert not bench.run(keys_of(bench).delete("two", KEY.id))
    assert bench.database.rows("SELECT id FROM tombstones") == []


class Silence(SqliteD1):
    async def batch(self, statements: list[Any]) -> list[Any]:
        self.batches += 1
        await asyncio.Event().wait()
        return []


@pytest.mark.parametrize("seconds", [limits.STORE_SECONDS, limits.STORE_SECONDS_OF_REQUEST])
def test_a_call_that_is_never_answered_is_given_up(seconds: float):
    loop = Loop()  # type: ignore[abstract]
    silent = Silence()
    database = Database(silent, Meter(), seconds=seconds)
    with pytest.raises(StoreSilent):
        loop.run_until_complete(task_store(database).going_on(TaskKey("local:x")))
    assert loop.time() == seconds
    assert silent.batches == 1
    loop.close()
    silent.close()
