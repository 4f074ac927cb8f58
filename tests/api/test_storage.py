"""What clients see of a database that is full or nearly full."""

import pytest

from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import NewTask
from src.kernel.store.admission import Conditions
from src.kernel.store.tasks import TaskStore
from tests.support.api_bench import ApiBench, data
from tests.support.sqlite_d1 import NETWORK_LOST

FULL = "D1_ERROR: Exceeded maximum DB size"
MB = 1_000_000
LONG = "word " * 2_000


def post(bench: ApiBench, key: str | None = None, text: str = LONG) -> Reply:
    body = {"input": text, "chunk": {"maxChars": 6000}}
    return bench.call("POST", "/api/tasks", body, headers=None if key is None else {"idempotency-key": key})


def size(bench: ApiBench, megabytes: float) -> None:
    bench.database.cap.reported = round(megabytes * MB)


def test_new_tasks_are_refused_from_the_bound_on(bench: ApiBench) -> None:
    task = bench.submit()
    size(bench, 450)
    # the reply to this read reports the size of the database
    assert bench.call("GET", f"/api/tasks/{task['id']}").status == 200
    reply = post(bench)
    assert (reply.status, data(reply)["code"], reply.headers["Retry-After"]) == (507, "storage_full", "300")
    assert len(data(bench.call("GET", "/api/tasks"))["tasks"]) == 1
    assert bench.call("POST", f"/api/tasks/{task['id']}/cancel").status == 200
    assert bench.call("DELETE", f"/api/tasks/{task['id']}").status == 204


def test_an_isolate_looks_again_after_a_while(bench: ApiBench) -> None:
    bench.submit()
    size(bench, 460)
    bench.call("GET", "/api/tasks")
    before = bench.database.batches
    assert [post(bench).status for _ in range(20)] == [507] * 20
    assert bench.database.batches == before
    size(bench, 300)
    assert post(bench).status == 507
    bench.pass_seconds(limits.STORAGE_MEASURE_SECONDS + 1)
    assert post(bench).status == 202


def test_a_submission_that_was_accepted_is_still_found(bench: ApiBench) -> None:
    """In this test the answer to a submission was lost, and after that the database has become full."""
    first = data(post(bench, "key"))
    size(bench, 460)
    bench.call("GET", "/api/tasks")
    again = post(bench, "key")
    assert (again.status, data(again)["id"]) == (202, first["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert data(post(bench, "key", "other"))["code"] == "idempotency_mismatch"
    assert post(bench, "another").status == 507


def test_a_write_that_finds_no_room_accepts_nothing(bench: ApiBench) -> None:
    bench.database.cap.hold(bench.database.cap.pages)
    before = bench.database.batches
    reply = post(bench)
    assert (reply.status, data(reply)["code"]) == (507, "storage_full")
    assert bench.database.rows("SELECT count(*) AS tasks FROM tasks") == [{"tasks": 0}]
    # The only send of the submission was refused, so the Worker neither searches for a task nor withdraws a task. A
    # withdrawal would write a tombstone, which is a row that keeps the task from being written later.
    assert bench.database.batches == before + 1
    bench.database.cap.lift()
    assert post(bench).status == 202


def test_a_sending_before_the_one_that_found_no_room_may_have_landed(bench: ApiBench) -> None:
    bench.database.fail("D1_ERROR: Network connection lost.", "after")
    bench.database.fail(FULL)
    assert post(bench).status == 202


def test_a_sending_before_the_one_that_found_no_room_is_taken_back(bench: ApiBench) -> None:
    bench.database.fail("D1_ERROR: Network connection lost.", "later")
    bench.database.fail(FULL)
    assert post(bench).status == 507
    bench.run(bench.database.land())
    assert bench.database.rows("SELECT count(*) AS tasks FROM tasks") == [{"tasks": 0}]


def test_no_task_is_accepted_whose_withdrawal_is_on_its_way(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.limit(tasks_in_flight_most=1)
    task = bench.submit()
    withdraw = bench.store.withdraw
    bench.database.fail(NETWORK_LOST, "later")
    bench.database.fail(NETWORK_LOST, "later", limits.STORE_SENDS, passing=1)

    async def lost(_store: TaskStore, new: NewTask, on: Conditions) -> None:
        monkeypatch.undo()
        try:
            await withdraw(new, on)
        finally:
            await bench.store.cancel(TaskKey(f"local:{task['id']}"), 1_000_000)
            await bench.database.land(1)

    monkeypatch.setattr(TaskStore, "withdraw", lost)
    assert post(bench).status == 503
    bench.run(bench.database.land())
    assert [one["id"] for one in data(bench.call("GET", "/api/tasks"))["tasks"]] == [task["id"]]


def test_a_task_is_erased_from_a_full_database(bench: ApiBench) -> None:
    """Tasks can be erased on a full database, because the erased rows free the space for the tombstone."""
    tasks = [data(post(bench))["id"] for _ in range(40)]
    pages = bench.database.cap
    pages.hold(pages.pages)
    for task_id in tasks:
        assert bench.call("DELETE", f"/api/tasks/{task_id}").status == 204
    assert bench.database.rows("SELECT count(*) AS left FROM tombstones") == [{"left": 40}]


def test_operators_see_how_full_the_database_is(bench: ApiBench) -> None:
    size(bench, 123)
    shown = data(bench.call("GET", "/api/async-status?verbose=1"))
    assert shown["storage"] == {"bytes": 123 * MB, "most": 450 * MB}


def test_the_status_says_that_there_is_no_room(bench: ApiBench) -> None:
    healthy = data(bench.call("GET", "/api/async-status"))
    size(bench, 450)
    bench.pass_seconds(limits.DATABASE_CHECK_SECONDS)
    assert data(bench.call("GET", "/api/async-status")) == healthy | {"status": "degraded"}
    size(bench, 449)
    bench.pass_seconds(limits.DATABASE_CHECK_SECONDS)
    assert data(bench.call("GET", "/api/async-status")) == healthy
    bench.database.cap.hold(bench.database.cap.pages)
    assert post(bench).status == 507
    assert data(bench.call("GET", "/api/async-status")) == healthy | {"status": "degraded"}


def test_the_status_forgets_that_there_was_no_room(bench: ApiBench) -> None:
    healthy = data(bench.call("GET", "/api/async-status"))
    cap = bench.database.cap
    for _ in range(2):
        cap.hold(cap.pages)
        assert post(bench).status == 507
        assert data(bench.call("GET", "/api/async-status"))["status"] == "degraded"
        cap.lift()
        assert post(bench).status == 202
        assert data(bench.call("GET", "/api/async-status")) == healthy
    cap.hold(cap.pages)
    assert post(bench).status == 507
    cap.lift()
    bench.pass_seconds(limits.STORAGE_PAUSE_SECONDS - 1)
    assert data(bench.call("GET", "/api/async-status"))["status"] == "degraded"
    bench.pass_seconds(2)
    assert data(bench.call("GET", "/api/async-status")) == healthy


def test_what_a_full_database_leaves_possible(bench: ApiBench) -> None:
    """On a full database a task can be read, retried, cancelled and erased, since none of these needs a new row."""
    task = bench.submit()
    path = f"/api/tasks/{task['id']}"
    assert bench.call("POST", f"{path}/cancel").status == 200
    cap = bench.database.cap
    cap.hold(cap.pages)
    cap.told = True
    assert bench.call("GET", path).status == 200
    assert bench.call("POST", f"{path}/retry").status == 202
    assert bench.call("POST", f"{path}/cancel").status == 200
    assert post(bench).status == 507
    assert bench.call("GET", f"{path}/chunks").status == 200
    assert bench.call("DELETE", path).status == 204
