"""At which millisecond a time in the database is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.calls.pace import Rests
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import DEADLINE_EXCEEDED, Failure, Status
from src.kernel.store import (
    absence,
    early_erasure,
    ending,
    keys,
    latest_calls,
    resend,
    seen,
    sweep,
    tallies,
    views,
    work_statements,
)
from src.kernel.store.claims import Claim, ClaimRefusal, Finish, Unclaimed
from src.kernel.store.d1 import Database, Statement, as_json
from src.kernel.store.keys import KeyStore
from src.kernel.store.rows import ListFilter
from tests.support.store_bench import LEASE_MS, OVERDUE, RETENTION_MS, START_MS, StoreBench, outputs

TASK = TaskKey("local:t")
NOW = START_MS + 500_000
LATE_MS = 60_000
EARLY_MS = round(limits.EARLY_SECONDS_ALLOWED * 1000)


class Table(StoreBench):
    """A database whose clock shows NOW, and whose rows a test can give any values."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ms = NOW

    def ask(self, statement: Statement, **values: Any) -> list[dict[str, Any]]:
        (found,) = self.run(Database(self.database, Meter()).run(statement.bind(**values)))
        return [dict(row) for row in found]

    def give(self, table: str = "tasks", **columns: Any) -> None:
        named = ", ".join(f"{name} = ?" for name in columns)
        self.database.rows(f"UPDATE {table} SET {named}", *columns.values())  # noqa: S608 - a test's own names

    def write(self, table: str, **columns: Any) -> None:
        places = ", ".join("?" * len(columns))
        self.database.rows(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", *columns.values())  # noqa: S608

    def value(self, query: str) -> Any:
        (row,) = self.database.rows(query)
        (value,) = row.values()
        return value

    def pending(self, **columns: Any) -> None:
        self.insert(TASK)
        self.give(**columns)

    def held(self, **columns: Any) -> None:
        self.insert(TASK)
        self.claim(TASK)
        self.give(**columns)

    def ended(self, status: Status = Status.CANCELLED, **columns: Any) -> None:
        self.insert(TASK)
        given: dict[str, Any] = {"status": status, "finished_at": NOW - 1}
        self.give(**given | columns)


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.database.close()


AROUND = pytest.mark.parametrize("off", [-1, 0, 1])


@AROUND
def test_a_deadline_is_over_at_its_time(table: Table, off: int) -> None:
    table.pending(deadline_ms=1, deadline_at=NOW + off)
    found = table.try_claim(TASK)
    in_time = off > 0
    assert isinstance(found, Claim) == in_time
    if isinstance(found, Unclaimed):
        assert found.standing is ClaimRefusal.OVERDUE
    assert table.row(TASK)["status"] == ("processing" if in_time else "pending")
    assert bool(table.ask(views.STATUS, task_key=TASK)[0]["overdue"]) != in_time
    assert bool(table.run(table.store.expire([TASK], OVERDUE, RETENTION_MS))) != in_time


@AROUND
def test_a_worker_goes_on_until_its_deadline(table: Table, off: int) -> None:
    table.insert(TASK)
    claim = table.claim(TASK)
    table.give(deadline_ms=1, deadline_at=NOW + off)
    assert table.step(claim) == (off > 0)


@AROUND
def test_a_lease_that_is_over_is_shown_as_over(table: Table, off: int) -> None:
    table.held(lease_until=NOW + off, rest_until=0)
    assert bool(table.ask(views.TASKS, task_keys=as_json([TASK]))[0]["live"]) == (off > 0)


@AROUND
@pytest.mark.parametrize(("later", "earlier"), [("lease_until", "rest_until"), ("rest_until", "lease_until")])
def test_a_lease_and_a_rest_are_over_at_their_times(table: Table, off: int, later: str, earlier: str) -> None:
    table.held(**{later: NOW + off, earlier: NOW - 10})
    assert isinstance(table.try_claim(TASK), Claim) == (off <= 0)


@AROUND
def test_a_continuation_may_come_early_by_as_much_as_is_allowed(table: Table, off: int) -> None:
    table.pending(not_before=NOW + EARLY_MS + off)
    found = table.try_claim(TASK)
    assert isinstance(found, Claim) == (off <= 0)
    if isinstance(found, Unclaimed):
        assert (found.standing, found.left_ms) == (ClaimRefusal.EARLY, EARLY_MS + off)


@pytest.mark.parametrize(("wake_off", "moved"), [(-1, False), (0, False), (1, True)])
def test_the_sweep_does_not_look_behind_the_lease(table: Table, wake_off: int, moved: bool) -> None:
    table.pending(wake_at=NOW + LEASE_MS + wake_off)
    claim = table.claim(TASK)
    assert claim.fence == 1
    assert table.row(TASK)["wake_at"] == NOW + LEASE_MS + (0 if moved else wake_off)


@AROUND
def test_what_a_dead_worker_announced_keeps_its_window(table: Table, off: int) -> None:
    """Else a cancellation would not wait for the dead worker's announced calls."""
    table.insert(TASK)
    claim = table.claim(TASK)
    table.give(announced_at=NOW - 1_000, start_ms=3_000 + off)
    assert table.step(claim)
    assert table.row(TASK)["start_ms"] == max(2_000, 2_000 + off)


@AROUND
def test_a_dead_letter_ends_what_is_due(table: Table, off: int) -> None:
    table.pending(not_before=NOW + off)
    assert table.run(table.store.dead_letter(TASK, Failure(DEADLINE_EXCEEDED, "x", True), RETENTION_MS)) == (off <= 0)


@AROUND
def test_a_dead_letter_does_not_end_what_somebody_works_on(table: Table, off: int) -> None:
    table.held(lease_until=NOW + off, rest_until=0)
    assert table.run(table.store.dead_letter(TASK, Failure(DEADLINE_EXCEEDED, "x", True), RETENTION_MS)) == (off <= 0)


@pytest.mark.parametrize(("announced_off", "left"), [(-2_001, -1), (-2_000, 0), (-500, 1_500), (700, 2_000)])
def test_how_long_announced_calls_may_start(table: Table, announced_off: int, left: int) -> None:
    table.held(start_ms=2_000)
    released: dict[str, Any] = {"status": "pending", "holder": None, "lease_until": None}
    for columns in ({}, released):  # a worker that released its task may have left lanes
        table.give(**columns | {"announced_at": NOW + announced_off})
        (found,) = table.ask(ending.START_WINDOW, task_key=TASK, lanes_from_chunks=1_000)
        assert found["left_ms"] == left


def test_a_task_rests_after_each_claim_until_a_call_has_ended(table: Table) -> None:
    """The rest counts from the first claim of a row of stalls, but lasts half as long from each later claim on."""
    table.insert(TASK)
    table.claim(TASK, rests=Rests((10_000, 20_000), 60_000))
    assert table.row(TASK)["rest_until"] == NOW + 10_000
    table.pass_ms(LEASE_MS + 100_000)
    claim = table.claim(TASK, rests=Rests((10_000, 20_000), 60_000))
    rest_until = table.time_ms + 10_000
    assert (claim.stalls, table.row(TASK)["rest_until"]) == (1, rest_until)
    assert table.step(claim)
    assert table.row(TASK)["rest_until"] == rest_until
    assert table.step(claim, finished=True)
    assert table.row(TASK)["rest_until"] == 0


def test_which_tasks_wait_for_their_model_and_which_get_on(table: Table) -> None:
    def found() -> tuple[int, int]:
        (row,) = table.ask(absence.UNFINISHED, most=9, back_ms=1_000)
        return row["is_away"], row["succeeds"]

    table.held(announced_at=NOW)
    assert found() == (0, 0), "no call has succeeded yet"
    table.give(completed=1, wait_reason="rate_limited")
    assert found() == (0, 1)
    table.give(wait_reason="model_away")
    assert found() == (1, 1)


@AROUND
def test_a_repetition_joins_what_came_within_its_window(table: Table, off: int) -> None:
    table.write(
        "submissions", id="local:r:1", task_id="local:a", digest='{"0": "local:a"}', expires_at=NOW - 300 + 9_000 + off
    )
    ours = {"first": "local:r:", "behind": "local:r;", "path": '$."1"', "task_key": "local:b"}
    values = {"before": '$."0"', "sendings": 1, "submission": "local:r:2", "window_ms": 300, "valid_ms": 9_000}
    table.ask(resend.FOLLOW, **ours, **values)
    assert [row["task_id"] for row in table.ask(resend.EARLIER, **ours)] == (["local:a"] if off >= 0 else [])


def due(table: Table, **values: Any) -> list[dict[str, Any]]:
    given = {"most": 10, "tenants_served": 10, "apart_ms": LATE_MS, "in_vain": None}
    return table.ask(sweep.DUE, **given | values)


@AROUND
def test_a_task_is_due_from_its_time_on(table: Table, off: int) -> None:
    table.pending(wake_at=NOW + off)
    assert bool(due(table)) == (off <= 0)


@AROUND
def test_a_task_that_was_just_sent_off_is_left_alone_for_a_minute(table: Table, off: int) -> None:
    table.pending(wake_at=NOW, dispatches=2, sent_at=NOW - LATE_MS + off)
    assert bool(due(table)) == (off <= 0)
    assert bool(due(table, in_vain=3)) == (off <= 0)
    assert due(table, in_vain=2)
    taken = table.ask(sweep.REDISPATCH, task_keys=as_json([TASK]), apart_ms=LATE_MS, delay_ms=1_000, doublings_most=2)
    assert bool(taken) == (off <= 0)
    table.give(dispatches=0, wake_at=NOW)
    assert due(table)


@AROUND
def test_a_task_that_is_not_due_is_not_taken_on(table: Table, off: int) -> None:
    table.pending(wake_at=NOW + off)
    taken = table.ask(sweep.REDISPATCH, task_keys=as_json([TASK]), apart_ms=LATE_MS, delay_ms=1_000, doublings_most=2)
    assert bool(taken) == (off <= 0)


@AROUND
def test_an_overdue_task_is_found_though_it_was_just_sent_off(table: Table, off: int) -> None:
    table.pending(wake_at=NOW, dispatches=1, sent_at=NOW, deadline_ms=1, deadline_at=NOW + off)
    assert bool(due(table)) == (off <= 0)


@pytest.mark.parametrize(("dispatches", "delay_ms"), [(0, 2_000), (1, 4_000), (2, 8_000), (3, 8_000)])
def test_dispatches_back_off(table: Table, dispatches: int, delay_ms: int) -> None:
    table.pending(wake_at=NOW, dispatches=dispatches)
    table.ask(sweep.REDISPATCH, task_keys=as_json([TASK]), apart_ms=LATE_MS, delay_ms=1_000, doublings_most=3)
    row = table.row(TASK)
    assert (row["dispatches"], row["sent_at"], row["wake_at"]) == (dispatches + 1, NOW, NOW + delay_ms)


@pytest.mark.parametrize(
    ("lease_off", "rest_off", "wakes"), [(5, 0, 5), (0, 7, 7), (9, 7, 9), (0, 0, None), (-1, 0, None)]
)
def test_the_look_at_a_task_is_put_off_until_it_is_free(
    table: Table, lease_off: int, rest_off: int, wakes: int | None
) -> None:
    table.held(lease_until=NOW + lease_off, rest_until=NOW + rest_off, wake_at=NOW - 3)
    table.ask(sweep.POSTPONE, task_keys=as_json([TASK]))
    assert table.row(TASK)["wake_at"] == NOW + (-3 if wakes is None else wakes)


@AROUND
def test_a_retention_is_over_at_its_time(table: Table, off: int) -> None:
    table.ended(wake_at=NOW + off)
    found = table.run(table.store.past_retention(10))
    assert found.past_retention == ([TASK] if off <= 0 else [])


@pytest.mark.parametrize("chunks_most", [3, 4, 5])
def test_a_page_of_erasures_has_as_many_chunks_as_it_may(table: Table, chunks_most: int) -> None:
    for name in ("local:a", "local:b"):
        table.insert(name)
    table.give(status="cancelled", finished_at=NOW - 1, wake_at=NOW)
    assert len(table.ask(sweep.PAST_RETENTION, most=10, chunks_most=chunks_most)) == (2 if chunks_most >= 4 else 1)
    assert len(table.ask(sweep.PAST_RETENTION, most=10, chunks_most=1)) == 1


@AROUND
def test_a_tombstone_is_over_at_its_time(table: Table, off: int) -> None:
    table.write("tombstones", id="x", until=NOW + off)
    table.ask(sweep.REMOVE_TOMBSTONES)
    assert len(table.database.rows("SELECT * FROM tombstones")) == (off > 0)


@AROUND
@pytest.mark.parametrize(
    ("since", "sent"), [("wake_at", {}), ("sent_at", {"wake_at": NOW + 1_000_000, "dispatches": 1})]
)
def test_a_task_is_late_a_minute_after_it_was_due_or_sent(
    table: Table, off: int, since: str, sent: dict[str, int]
) -> None:
    table.pending(**sent, **{since: NOW - LATE_MS + off})
    assert table.run(table.store.nudge(TASK, 1_000)) == (off <= 0)


@AROUND
def test_a_turn_is_taken_once_in_its_time(table: Table, off: int) -> None:
    table.write("seen", what="sweep", at=NOW - LATE_MS + off)
    assert bool(table.ask(seen.TAKE_PERMIT, what="sweep", apart_ms=LATE_MS)) == (off <= 0)
    table.give("seen", at=NOW + off)
    assert bool(table.ask(seen.TAKE_PERMIT, what="sweep", apart_ms=LATE_MS)) == (off > 0)
    table.give("seen", at=NOW - LATE_MS + off)
    table.ask(seen.SEE, what="sweep", apart_ms=LATE_MS)
    assert (table.value("SELECT at FROM seen") == NOW) == (off <= 0)


@AROUND
def test_a_key_opens_until_it_expires(table: Table, off: int) -> None:
    row = {"id": "0" * 16, "tenant": "local", "digest": "d" * 64, "scopes": '["read"]', "created_at": NOW - 9}
    table.write("api_keys", **row, expires_at=NOW + off)
    found = table.run(KeyStore(Database(table.database, Meter())).find("0" * 16))
    assert (found.key is not None) == (off > 0)
    table.ask(keys.DELETE_EXPIRED_KEYS, tenant="local")
    assert len(table.database.rows("SELECT * FROM api_keys")) == (off > 0)


@AROUND
def test_a_task_is_erased_early_from_its_day_on(table: Table, off: int) -> None:
    table.insert(TASK)
    table.give(status="cancelled", finished_at=NOW - 10_000 + off)
    table.write("tenant_storage", tenant="local", bytes=1, counted_at=NOW)
    (row,) = table.ask(early_erasure.OLDEST, kept_ms=10_000, most=5, chunks_most=100, walk_most=100)
    assert row["id"] == (TASK if off <= 0 else None)


@pytest.mark.parametrize(
    ("most", "chunks_most", "found"), [(1, 100, 1), (2, 100, 2), (3, 100, 3), (3, 4, 2), (3, 1, 1)]
)
def test_early_erasure_is_bounded(table: Table, most: int, chunks_most: int, found: int) -> None:
    for name in ("local:a", "local:b", "local:c"):
        table.insert(name)
    table.give(status="cancelled", finished_at=NOW - 20_000)
    table.write("tenant_storage", tenant="local", bytes=1, counted_at=NOW)
    rows = table.ask(early_erasure.OLDEST, kept_ms=10_000, most=most, chunks_most=chunks_most, walk_most=100)
    assert len([row for row in rows if row["id"] is not None]) == found


@AROUND
def test_sums_of_five_minutes_are_kept_for_two_days(table: Table, off: int) -> None:
    kept_ms = round(limits.HISTORY_SECONDS * 1000)
    for at in (0, NOW - kept_ms + off):
        table.write("tallies", at=at, status="completed", route="queue")
    table.write("samples", at=NOW - kept_ms + off, pending=0, processing=0, oldest_ms=0)
    table.ask(tallies.FORGET_TALLIES)
    table.ask(tallies.FORGET_SAMPLES)
    assert table.value("SELECT count(*) FROM tallies") == 1 + (off > 0)
    assert table.value("SELECT count(*) FROM samples") == (off > 0)


@AROUND
def test_latest_calls_are_kept_as_long_as_they_count(table: Table, off: int) -> None:
    kept_ms = round(limits.OTHERS_SECONDS * 1000)
    table.write("latest_calls", id="local:m", calls="[]", failed_at=NOW - kept_ms + off)
    table.ask(latest_calls.FORGET_CALLS, kept_ms=kept_ms, most=10)
    assert table.value("SELECT count(*) FROM latest_calls") == (off > 0)


@pytest.mark.parametrize(("minute", "left"), [(0, 1), (4, 1), (5, 3), (59, 3)])
def test_counts_of_characters_are_kept_for_their_day(table: Table, minute: int, left: int) -> None:
    today = NOW // 86_400_000
    table.time_ms = today * 86_400_000 + minute * 60_000
    for days in range(3):
        table.write("daily_use", tenant=f"t{days}", day=today - days, characters=1)
    table.ask(tallies.FORGET_USE, most=10)
    assert table.value("SELECT count(*) FROM daily_use") == left


@AROUND
def test_open_calls_are_left_to_a_worker_that_may_live(table: Table, off: int) -> None:
    table.ended(in_flight="[[0,0]]", announced_at=NOW - 5_000 + off)
    assert len(table.ask(tallies.SILENT, claim_ms=5_000, most=10)) == (off <= 0)


@AROUND
def test_an_old_end_is_added_to_five_minutes_that_are_kept(table: Table, off: int) -> None:
    bucket_ms = round(limits.HISTORY_BUCKET_SECONDS * 1000)
    bucket = NOW // bucket_ms * bucket_ms
    table.time_ms = bucket + round(limits.HISTORY_SECONDS * 1000) + off
    table.ended(finished_at=bucket, wake_at=bucket + RETENTION_MS)
    table.ask(ending.ERASE_COUNT, task_key=TASK)
    assert [row["at"] for row in table.database.rows("SELECT at FROM tallies")] == [0, bucket][: 1 + (off < 0)]


@AROUND
def test_a_fold_ends_before_this_very_millisecond(table: Table, off: int) -> None:
    table.insert(TASK)
    table.give(status="cancelled", finished_at=NOW - 1 + off, wake_at=NOW - 1 + off + RETENTION_MS)
    (found,) = table.ask(tallies.FOLDABLE, kept_ms=as_json([RETENTION_MS]), most=10)
    assert (bool(found["some"]), found["now"]) == (off <= 0, NOW - 1)


@AROUND
def test_a_task_is_not_counted_twice(table: Table, off: int) -> None:
    table.ended(wake_at=NOW - 1 + RETENTION_MS)
    table.write("folds", kept_ms=RETENTION_MS, until=NOW - 1 + off)
    table.ask(ending.ERASE_COUNT, task_key=TASK)
    assert table.value("SELECT count(*) FROM tallies") == (2 if off < 0 else 0)


def ahead(table: Table, task_key: str = TASK, most_ahead: int = 3) -> int | None:
    values = {"late_ms": LATE_MS, "in_vain": 2, "queued_ms": 5_000, "most_ahead": most_ahead}
    (found,) = table.ask(views.TASK, task_key=task_key, **values)
    number: int | None = found["ahead"]
    return number


@AROUND
def test_the_queue_of_a_task_is_shown_after_its_time(table: Table, off: int) -> None:
    table.pending(created_at=NOW - 5_000 + off, not_before=0)
    assert ahead(table) == (0 if off <= 0 else None)
    table.give(created_at=0, not_before=NOW - 5_000 + off)
    assert ahead(table) == (0 if off <= 0 else None)


@pytest.mark.parametrize("most_ahead", [1, 2, 3])
def test_how_many_are_before_a_task(table: Table, most_ahead: int) -> None:
    for name in ("local:a", "local:b"):
        table.insert(name)
    table.give(created_at=0)
    assert tuple(ahead(table, name, most_ahead) for name in ("local:a", "local:b")) == (
        (0, 1) if most_ahead >= 2 else (None, None)
    )


@pytest.mark.parametrize("most_ahead", [1, 2, 3])
def test_who_has_the_slots_is_before_a_task_without_one(table: Table, most_ahead: int) -> None:
    for name in ("local:a", "other:b", "other:c"):
        table.insert(name)
    table.give(created_at=0, route="durable-object")
    for name in ("other:b", "other:c"):
        table.write("object_places", id=name)
    assert ahead(table, "local:a", most_ahead) == (2 if most_ahead >= 2 else None)
    table.write("object_places", id="local:a")
    assert ahead(table, "local:a", most_ahead) == 0


@pytest.mark.parametrize("most_chars", [19, 20, 21])
def test_outputs_are_read_at_once_up_to_a_size(table: Table, most_chars: int) -> None:
    for name, tag in ((TASK, "12345678"), ("local:other", "1")):
        table.insert(name)
        assert table.step(table.claim(name), Finish(RETENTION_MS), outputs=outputs(0, 1, tag=tag), completed=2)
    asked = {"task_key": TASK, "most_chars": most_chars}
    whole = most_chars >= 20
    (places,) = table.ask(views.SPANS, **asked)
    assert bool(places["whole"]) == whole
    assert bool(table.ask(views.CHUNKS, **asked)) == whole
    assert bool(table.ask(views.RESULT, **asked, most_of_value=0)) == whole
    table.give(structured="{}")
    assert bool(table.ask(views.RESULT, **asked | {"most_chars": 99}, most_of_value=most_chars)) == whole


@pytest.mark.parametrize(
    ("completed", "walk_most", "found"),
    [
        ("c", 1, "c"),
        ("c", 2, "cb"),
        ("c", 3, "ca"),
        ("c", 4, "c"),
        ("a", 1, "c"),
        ("a", 2, "b"),
        ("a", 3, "a"),
        ("a", 4, "a"),
    ],
)
def test_a_list_by_status_says_where_its_walk_ended_and_shows_nothing_behind(
    table: Table, completed: str, walk_most: int, found: str
) -> None:
    """Of three tasks one is completed. The end of a walk is a row of its own, unless it is that one."""
    for name in "abc":
        table.insert(f"local:{name}")
    table.database.rows(
        "UPDATE tasks SET status = 'completed', completed = total, finished_at = 1 WHERE id = ?", f"local:{completed}"
    )
    asked = {"first": "local:", "behind": "local;", **ListFilter(Status.COMPLETED)._asdict()}
    rows = table.ask(views.LIST_FILTERED, **asked, walk_most=walk_most, most=10)
    assert [row["id"] for row in rows] == [f"local:{name}" for name in found]


@AROUND
def test_lanes_start_within_the_window_or_the_deadline(table: Table, off: int) -> None:
    table.held(start_ms=2_000, deadline_ms=1, deadline_at=NOW + 2_000 + off)
    (found,) = table.ask(work_statements.MAY_START, task_key=TASK, fence=1, holder=None)
    assert found["left_ms"] == min(2_000, 2_000 + off)


@AROUND
def test_lanes_start_under_the_present_claim_alone(table: Table, off: int) -> None:
    table.held(start_ms=2_000, fence=5)
    found = table.ask(work_statements.MAY_START, task_key=TASK, fence=5 + off, holder=None)
    assert len(found) == (off == 0)
