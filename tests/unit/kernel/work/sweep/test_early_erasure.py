"""Early erasure frees space before the database is full: which ended tasks it erases, in which order, at which cost."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from src.kernel.domain import limits
from src.kernel.store.early_erasure import Old
from src.kernel.work.sweep.duty import SweepAllowance
from src.kernel.work.sweep.own_duties import EarlyErasure, Folding, FoldingDuty
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench

DAY_MS = 86_400_000
BYTES = 2_000 + 4 * 500  # the bytes that a count of storage adds for a task in these tests, without its input


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    made.settings = replace(made.settings, storage_mb_most=10)
    hold(made, 9_000_000)
    yield made
    made.close()


def hold(bench: WorkerBench, size: int) -> None:
    bench.database.cap.reported = size


def fill(
    bench: WorkerBench, tenant: str, tasks: int, *, days: float = 2, status: str = "completed", first: int = 0
) -> None:
    """Write tasks that ended so many days ago, or have not, with ids from `first` on."""
    ended = START_MS - round(days * DAY_MS) if status != "pending" else None
    bench.database.rows(
        "INSERT INTO tasks (id, status, route, reduce, metadata, total, completed, merge_chars, calls_minimum,"
        " created_at, wake_at, started_at, finished_at, output_tokens)"
        " SELECT printf('%s:%06d', ?1, value), ?4, 'queue', 'none', '{}', 1, ?4 = 'completed', 2000, 1, 0, ?5, 1, ?3,"
        " 500 FROM json_each(?2)",
        tenant,
        json.dumps(list(range(first, first + tasks))),
        ended,
        status,
        START_MS + 10 * DAY_MS,
    )
    bench.database.rows(
        "INSERT INTO texts (task_id, input, instructions, cuts, overlap) SELECT id, 'x', '', '[1]', 0 FROM tasks"
        " WHERE tenant = ?1 ON CONFLICT DO NOTHING",
        tenant,
    )


def clear(bench: WorkerBench) -> int:
    worker = bench.worker()
    made = EarlyErasure(worker, SweepAllowance(worker.settings, worker.meter, None))

    async def look_and_clear() -> int:
        await worker.store.ready()  # the sweep's own read reports the size, like every reply of the database
        return await made.run()

    return int(bench.do(look_and_clear()))


def left(bench: WorkerBench, tenant: str) -> list[str]:
    found = bench.database.rows("SELECT id FROM tasks WHERE tenant = ? ORDER BY id", tenant)
    return [row["id"].partition(":")[2] for row in found]


def test_the_oldest_tasks_of_the_tenant_that_stores_most_go(bench: WorkerBench):
    bench.settings = replace(bench.settings, plan="free")
    fill(bench, "large", 100)
    fill(bench, "small", 60)
    assert clear(bench) == 40
    assert left(bench, "large") == [f"{number:06d}" for number in range(40, 100)]
    assert len(left(bench, "small")) == 60
    assert bench.database.rows("SELECT count(*) AS texts FROM texts") == [{"texts": 120}]


def test_a_tenant_whose_calls_never_came_back_counts_all_the_same(bench: WorkerBench):
    """Cancelled long texts count without tokens; else other tenants' tasks would be erased."""
    fill(bench, "sly", 50, status="cancelled")
    bench.database.rows("UPDATE tasks SET total = 20, calls_minimum = 20, chunk_chars = 10000")
    fill(bench, "honest", 200)
    bench.settings = replace(bench.settings, plan="free")
    assert clear(bench) == 40
    assert (len(left(bench, "sly")), len(left(bench, "honest"))) == (10, 200)
    counted = {row["tenant"]: row["bytes"] for row in bench.database.rows("SELECT * FROM tenant_storage")}
    assert counted == {"sly": 10 * (BYTES + 200_000), "honest": 200 * BYTES}


def upload(bench: WorkerBench, tenant: str, size: int, place: str = "d1", owner: str | None = None) -> None:
    bench.database.rows(
        "INSERT INTO files (id, state, purpose, filename, place, bytes, owner, created_at)"
        " SELECT ?1 || ':' || count(*), 'ready', 'batch', 'f', ?2, ?3, ?4, 0 FROM files RETURNING id",
        *(tenant, place, size, owner),
    )


def test_files_in_the_database_count_for_their_tenant(bench: WorkerBench):
    bench.settings = replace(bench.settings, plan="free")
    fill(bench, "files", 50)
    fill(bench, "files", 3, days=0, first=50)
    fill(bench, "bucket", 60)
    fill(bench, "tasks", 100)
    upload(bench, "files", 5_000_000)
    upload(bench, "bucket", 50_000_000, "r2")
    assert [clear(bench) for _ in range(4)] == [40, 10, 0, 40]
    assert [len(left(bench, tenant)) for tenant in ("files", "bucket", "tasks")] == [3, 60, 60]
    bench.do(asyncio.sleep(7 * 3_600))  # the next count counts the files again
    fill(bench, "files", 1, first=60)
    assert [clear(bench) for _ in range(3)] == [1, 0, 40]
    assert len(left(bench, "files")) == 3


def test_no_task_is_erased_for_files_beyond_their_share(bench: WorkerBench):
    """If files alone make the database large, the erasure of tasks would not help, so every result stays."""
    fill(bench, "files", 10)
    fill(bench, "tasks", 100)
    upload(bench, "files", 6_100_000)
    assert clear(bench) == 0
    assert (len(left(bench, "files")), len(left(bench, "tasks"))) == (10, 100)
    hold(bench, 9_200_000)  # the tasks have more than their part now
    assert clear(bench) == 110


def test_the_files_of_a_batch_go_with_it(bench: WorkerBench):
    """What a batch wrote to the database counts as its task's, and its refused lines count too."""
    fill(bench, "batches", 2)
    fill(bench, "tasks", 100)
    bench.database.rows(
        "UPDATE tasks SET kind = 'batch', kind_fence = fence, total = 10, completed = 5, failed = 5"
        " WHERE tenant = 'batches'"
    )
    upload(bench, "batches", 600_000, owner="batches:000000")
    upload(bench, "batches", 700_000, "r2", owner="batches:000001")
    worker = bench.worker()
    bench.do(worker.store.count_storage(keep_input=False))
    counted = {
        row["tenant"]: (row["bytes"], row["files"]) for row in bench.database.rows("SELECT * FROM tenant_storage")
    }
    assert counted == {"batches": (2 * (2_000 + 640 + 3_000) + 600_000, 0), "tasks": (100 * BYTES, 0)}
    bench.settings = replace(bench.settings, plan="free")
    assert [clear(bench) for _ in range(2)] == [2, 40]
    assert [row["expires_at"] is not None for row in bench.database.rows("SELECT * FROM files")] == [True, True]


@pytest.mark.parametrize(
    ("status", "keep_input", "facts", "its_input"),
    [
        ("completed", False, "input_tokens = 9000", 0),
        ("completed", True, "input_tokens = 9000", 36_000),
        ("completed", True, "chunk_chars = 300", 300),
        ("cancelled", False, "input_tokens = 9000", 36_000),
        ("cancelled", False, "total = 3, calls_minimum = 3, chunk_chars = 100, input_tokens = 70", 300),
        ("pending", False, "total = 2, calls_minimum = 2", 12_000),
    ],
)
def test_what_a_task_counts_for(bench: WorkerBench, status: str, keep_input: bool, facts: str, its_input: int):
    fill(bench, "tenant", 1, status=status)
    bench.database.rows(f"UPDATE tasks SET {facts}")  # noqa: S608 - constants
    bench.do(bench.worker().store.count_storage(keep_input=keep_input))
    assert bench.database.rows("SELECT bytes FROM tenant_storage") == [{"bytes": BYTES + its_input}]


def test_only_those_that_store_most_are_counted(bench: WorkerBench):
    for number in range(60):
        fill(bench, f"tenant-{number:02}", 1 + number)
    bench.do(bench.worker().store.count_storage(keep_input=False))
    counted = bench.database.rows("SELECT tenant FROM tenant_storage ORDER BY tenant")
    assert [row["tenant"] for row in counted] == [f"tenant-{number:02}" for number in range(10, 60)]


def test_tenants_that_store_alike_lose_alike(bench: WorkerBench):
    fill(bench, "first", 300)
    fill(bench, "second", 300)
    assert clear(bench) == 400  # a sweep on the paid plan erases ten pages
    assert abs(len(left(bench, "first")) - len(left(bench, "second"))) <= 40
    counted = {row["tenant"]: row["bytes"] for row in bench.database.rows("SELECT * FROM tenant_storage")}
    assert counted == {tenant: len(left(bench, tenant)) * BYTES for tenant in ("first", "second")}


@pytest.mark.parametrize(
    ("days", "status"), [(0.99, "completed"), (2, "pending")], ids=["ended within a day", "goes on"]
)
def test_what_may_not_go_stays(bench: WorkerBench, days: float, status: str):
    fill(bench, "large", 50, days=days, status=status)
    fill(bench, "small", 10)
    assert clear(bench) == 0
    assert (len(left(bench, "large")), len(left(bench, "small"))) == (50, 10)


@pytest.mark.parametrize("plan", ["free", "paid"])
def test_old_tasks_that_go_on_pin_nothing(bench: WorkerBench, plan: str):
    bench.settings = replace(bench.settings, plan=plan)
    fill(bench, "large", 500, status="pending")
    fill(bench, "large", 60, first=500)
    assert clear(bench) == {"free": 40, "paid": 60}[plan]
    clear(bench)
    assert left(bench, "large") == [f"{number:06d}" for number in range(500)]


def test_a_walk_goes_on_behind_what_it_passed(bench: WorkerBench):
    """Each sweep's early erasure scans the next thousand tasks, from the end of the previous scan on."""
    bench.settings = replace(bench.settings, plan="free")
    fill(bench, "large", 2_500, status="pending")
    fill(bench, "large", 60, first=2_500)
    fill(bench, "large", 500, first=2_560, status="pending")
    assert [clear(bench) for _ in range(4)] == [0, 0, 40, 20]
    assert clear(bench) == 0
    assert len(left(bench, "large")) == 3_000


def test_a_walk_begins_anew_at_its_end(bench: WorkerBench):
    bench.settings = replace(bench.settings, plan="free")
    fill(bench, "large", 1_200, status="pending")
    assert clear(bench) == 0
    bench.database.rows(
        "UPDATE tasks SET status = 'cancelled', finished_at = ? WHERE id <= 'large:000002'", START_MS - 2 * DAY_MS
    )
    assert [clear(bench) for _ in range(2)] == [0, 3]


def test_tasks_of_one_millisecond_pin_no_walk(bench: WorkerBench):
    fill(bench, "large", 60, first=1_500)
    bench.database.rows("UPDATE tasks SET id = 'large:01a0c450-8370-7' || substr(id, 7)")
    fill(bench, "large", 1_500, status="pending")
    bench.database.rows("UPDATE tasks SET id = 'large:01a0c450-8370-7' || substr(id, 7) WHERE finished_at IS NULL")
    bench.settings = replace(bench.settings, plan="free")
    assert [clear(bench) for _ in range(3)] == [0, 0, 40]


def test_a_task_that_was_put_back_after_the_look_stays(bench: WorkerBench):
    fill(bench, "large", 2)
    found = bench.do(_counted(bench))
    bench.database.rows("UPDATE tasks SET status = 'pending', finished_at = NULL WHERE id = 'large:000000'")
    assert bench.do(bench.worker().store.erase_early(found, keep_input=False)) == 1
    assert left(bench, "large") == ["000000"]


def test_a_task_that_ended_anew_after_the_look_stays_whole(bench: WorkerBench):
    fill(bench, "large", 2)
    found = bench.do(_counted(bench))
    day_ago = START_MS - DAY_MS
    assert found.ended_by == day_ago
    bench.database.rows("UPDATE tasks SET finished_at = ? WHERE id = 'large:000000'", day_ago + 1)
    bench.do(asyncio.sleep(1))  # by the database's clock, the task seems to have ended a day ago now
    assert bench.do(bench.worker().store.erase_early(found, keep_input=False)) == 1
    assert left(bench, "large") == ["000000"]
    assert bench.database.rows("SELECT task_id FROM texts") == [{"task_id": "large:000000"}]


async def _counted(bench: WorkerBench) -> Old:
    store = bench.worker().store
    assert await store.oldest_of_largest(40) is None
    await store.count_storage(keep_input=False)
    found = await store.oldest_of_largest(40)
    assert found is not None
    return found


def test_below_nine_tenths_nothing_is_asked(bench: WorkerBench):
    fill(bench, "large", 50)
    hold(bench, 8_999_999)
    before = bench.database.batches
    assert clear(bench) == 0
    assert bench.database.batches == before + 1  # the only call is the read that reported the size


def test_the_count_is_made_four_times_a_day(bench: WorkerBench):
    """A count of storage reads a row for each task, so early erasure uses each count for six hours."""
    fill(bench, "large", 1, days=0)
    calls = []
    for hours in (0, 1, 5, 7):
        bench.do(asyncio.sleep(hours * 3600 - (bench.loop.time())))
        before = bench.database.batches
        clear(bench)
        calls.append(bench.database.batches - before)
    assert calls == [4, 2, 2, 4]


def test_a_sweep_whose_allowance_is_spent_erases_nothing(bench: WorkerBench):
    fill(bench, "large", 1)
    worker = bench.worker()
    bench.do(worker.store.ready())
    worker.meter.spend(worker.settings.subrequests)
    assert bench.do(EarlyErasure(worker, SweepAllowance(worker.settings, worker.meter, None)).run()) == 0
    assert left(bench, "large") == ["000000"]


def test_a_database_without_tasks_has_none_to_erase(bench: WorkerBench):
    assert clear(bench) == 0


def test_a_failure_costs_the_sweep_nothing(bench: WorkerBench):
    fill(bench, "large", 50)
    bench.database.fail(NETWORK_LOST, "before", 3, passing=1)
    assert clear(bench) == 0
    assert len(bench.events("clearance_failed")) == 1
    assert clear(bench) == 50


def test_a_full_database_lets_itself_be_cleared(bench: WorkerBench):
    fill(bench, "large", 400)
    bench.database.cap.hold(bench.database.cap.pages)
    assert clear(bench) == 400


def test_a_sweep_on_the_free_plan_adds_one_page_of_ended_tasks(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLD_TASKS_MOST", {"free": 1})
    bench.settings = replace(bench.settings, plan="free")
    fill(bench, "large", 40)
    worker = bench.worker()
    duty, allowance = FoldingDuty(worker), SweepAllowance(worker.settings, worker.meter, None)
    assert not bench.do(duty.advance(allowance))
    assert bench.do(Folding(worker.store, worker.settings, worker.log).run()), "there are more"
