"""Tests of the store of files: uploads, reads, erasure and orphans, with lost answers and writes that land late."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from src.features.files.blobs import PartAway
from src.features.files.blobs.r2 import R2Bucket
from src.features.files.erasure import FileErasure, file_work
from src.features.files.file import File, FilePart, Purpose
from src.features.files.store import FilesFull, FileStore, TooManyFiles, file_store
from src.kernel.domain import limits
from src.kernel.domain.errors import BlobMissing, BlobUnavailable, StoreUnavailable
from src.kernel.domain.ids import FileKey
from src.kernel.domain.limits import (
    FILE_ERASE_SECONDS,
    FILE_IN_USE_SECONDS,
    LATE_SECONDS_MOST,
    LOST_PART_SECONDS,
    MISS_KEPT_SECONDS,
    ORPHAN_SECONDS,
    ORPHANS_APART_SECONDS,
    STORE_SENDS,
    UPLOAD_SECONDS_MOST,
)
from src.kernel.domain.settings import Settings
from src.kernel.store.d1 import Database
from src.kernel.store.tasks import TaskStore
from src.kernel.work.sweep.duty import SweepAllowance, do
from tests.support.file_bench import MOST, TENANT, FileBench
from tests.support.invocations import new_sweep
from tests.support.memory_r2 import INTERNAL
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.work.sweep.test_early_erasure import fill, hold, upload
from tests.unit.kernel.work.sweep.test_on_request import invocation

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store send a call again without a pause: these tests run on a real clock, on which a pause takes time."""
    monkeypatch.setattr(limits, "STORE_RESEND_SECONDS", 0)


@pytest.fixture(params=["r2", "d1"])
def bench(request: pytest.FixtureRequest) -> Iterator[FileBench]:
    made = FileBench(r2=request.param == "r2")
    yield made
    made.database.close()


@pytest.fixture
def in_r2() -> Iterator[FileBench]:
    made = FileBench()
    yield made
    made.database.close()


def assert_sound(bench: FileBench) -> None:
    assert bench.misfits() == []


def assert_nothing_left(bench: FileBench) -> None:
    assert (bench.rows(), bench.stored(), bench.database.rows("SELECT * FROM file_use")) == ([], {}, [])


def test_a_buffer_is_stored_like_bytes(bench: FileBench):
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    buffer = bench.store.bucket.buffer()
    for name, chunks in (("0", (b"ab", b"", b"c")), ("1", (b"d",))):
        buffer.clear()
        for chunk in chunks:
            buffer.append(chunk)
        bench.run(bench.store.bucket.put(key, name, buffer))
    assert len(buffer) == 1
    assert {name: size for (_, name), size in bench.stored().items()} == {"0": 3, "1": 1}
    with pytest.raises(AssertionError):
        buffer.append(b"x" * bench.store.bucket.part_bytes)


def test_a_file_that_does_not_fit_is_refused(bench: FileBench):
    bench.upload(b"x" * 600)
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.run(bench.store.bucket.put(key, "0", b"y" * 401))
    assert bench.ready(key, b"y" * 401) == FilesFull(600, MOST)
    assert bench.use() == 600
    assert bench.run(bench.store.file(key)) is None
    bench.run(bench.store.abort(key))
    bench.upload(b"y" * 400)
    assert bench.use() == MOST
    bench.upload(b"z", key=FileKey(bench.key("other")), use_most=1)
    assert (bench.use(), bench.use("other")) == (MOST, 1)
    assert_sound(bench)


@pytest.mark.parametrize("when", ["after", "later", "before"])
def test_a_lost_answer_to_ready_changes_nothing(bench: FileBench, when: str):
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.run(bench.store.bucket.put(key, "0", b"abc"))
    bench.database.fail(NETWORK_LOST, when, times=STORE_SENDS - 1)  # type: ignore[arg-type]
    ready = bench.ready(key, b"abc")
    bench.run(bench.database.land())
    assert ready == bench.run(bench.store.file(key)) is not None
    assert bench.use() == 3
    assert bench.ready(key, b"abc") == ready
    assert bench.use() == 3


def test_a_ready_that_lands_after_the_sweep_changes_nothing(bench: FileBench):
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.run(bench.store.bucket.put(key, "0", b"abc"))
    bench.database.fail(NETWORK_LOST, "later", times=STORE_SENDS)
    with pytest.raises(StoreUnavailable):
        bench.ready(key, b"abc")
    bench.pass_seconds(UPLOAD_SECONDS_MOST + 1)
    if bench.has_r2:
        bench.r2.fail(INTERNAL, times=3)
        with pytest.raises(BlobUnavailable):
            bench.sweep()
        assert [row["state"] for row in bench.rows()] == ["erasing"]
        assert bench.ready(key, b"abc") is None
    else:
        bench.sweep()
    bench.run(bench.database.land())
    assert bench.run(bench.store.file(key)) is None
    assert bench.use() == 0
    bench.pass_seconds(FILE_ERASE_SECONDS + 1)
    bench.sweep()
    assert_nothing_left(bench)


def test_an_upload_that_took_too_long_is_not_made_ready(bench: FileBench):
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.pass_seconds(UPLOAD_SECONDS_MOST + 1)
    assert bench.ready(key) is None
    assert bench.sweep() == 1
    assert_nothing_left(bench)


def test_a_failed_upload_leaves_nothing(bench: FileBench):
    for is_ready in (False, True):
        key = bench.key()
        bench.run(bench.store.begin(key, bench.time_ms))
        bench.run(bench.store.bucket.put(key, "0", b"abc"))
        if is_ready:
            bench.ready(key, b"abc")
        bench.run(bench.store.abort(key))
        assert_nothing_left(bench)
        assert bench.ready(key, b"abc") is None
        bench.run(bench.store.abort(key))
    assert_nothing_left(bench)


def test_a_begin_that_lands_late_restores_nothing(bench: FileBench):
    key = bench.key()
    bench.database.fail(NETWORK_LOST, "later")
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.run(bench.store.bucket.put(key, "0", b"abc"))
    bench.database.fail(NETWORK_LOST, "later")
    bench.ready(key, b"abc")
    assert bench.run(bench.store.delete(key)) is True
    bench.pass_seconds(LATE_SECONDS_MOST - 1)
    bench.run(bench.database.land())
    assert_nothing_left(bench)


def test_files_are_listed_by_creation(bench: FileBench):
    made = []
    for at in range(5):
        bench.pass_seconds(1)
        made.append(bench.upload(b"x", purpose=Purpose.BATCH if at % 2 else Purpose.USER_DATA))
    bench.upload(b"x", key=bench.key("locala"))
    bench.upload(b"x", key=bench.key("loca"))
    keys = [file.key for file in made]

    def listed(
        after: FileKey | None = None, most: int = 9, *, down: bool = False, of: Purpose | None = None
    ) -> list[str]:
        found = bench.run(bench.store.files(TENANT, purpose=of, after=after, most=most, newest_first=down))
        return [file.key for file in found]

    assert listed() == keys
    assert listed(down=True) == keys[::-1]
    assert listed(keys[1], 2) == keys[2:4]
    assert listed(keys[3], 2, down=True) == [keys[2], keys[1]]
    assert listed(of=Purpose.BATCH) == keys[1::2]
    assert bench.run(bench.store.files("none", purpose=None, after=None, most=9, newest_first=False)) == []


def hide(bench: FileBench) -> Callable[[], None]:
    objects = dict(bench.r2.objects)
    bench.r2.objects.clear()
    bench.database.rows("UPDATE file_parts SET file_id = 'hidden:' || file_id RETURNING name")

    def show() -> None:
        bench.r2.objects.update(objects)
        bench.database.rows("UPDATE file_parts SET file_id = substr(file_id, 8) RETURNING name")

    return show


def look(bench: FileBench, file: File) -> bytes | type[Exception]:
    store = FileStore(Database(bench.database, bench.meter), bench.bucket() if bench.has_r2 else None)
    found = bench.run(store.file(file.key))
    try:
        return bench.run(store.read(found or file, 0, file.bytes))
    except (BlobUnavailable, BlobMissing) as error:
        return type(error)


def test_a_part_that_is_missing_counts_as_lost_after_a_quarter_of_an_hour(bench: FileBench):
    file, other = bench.upload(b"abc", b"def"), bench.upload(b"ghi")
    hide(bench)
    assert look(bench, file) is PartAway
    for seconds in (60, 600, LOST_PART_SECONDS - 660.001):
        bench.pass_seconds(seconds)
        assert look(bench, file) is PartAway
    assert bench.run(bench.store.lost(file)) == []
    bench.pass_seconds(0.001)
    assert look(bench, file) is BlobMissing
    assert bench.run(bench.store.lost(file)) == [range(3)]  # the second part was first missed just now
    assert look(bench, other) is PartAway
    bench.pass_seconds(LOST_PART_SECONDS)
    assert bench.run(bench.store.lost(file)) == [range(3), range(3, 6)]


def test_a_part_that_was_missing_and_came_back_is_waited_for_again(bench: FileBench):
    file = bench.upload(b"abc", b"def")
    show = hide(bench)
    assert look(bench, file) is PartAway
    show()
    bench.pass_seconds(30)
    assert look(bench, file) == b"abcdef"
    assert [row["missing"] for row in bench.rows()] == [None]
    bench.pass_seconds(LOST_PART_SECONDS)
    hide(bench)
    assert look(bench, file) is PartAway
    bench.pass_seconds(MISS_KEPT_SECONDS + 1)  # the reader died, or its task was cancelled
    assert look(bench, file) is PartAway


def test_a_miss_that_cannot_be_noted_is_no_loss(bench: FileBench):
    """While the database fails, a part that is missing is waited for. A file that was erased is gone at once."""
    file = bench.upload(b"abc")
    hide(bench)
    assert look(bench, file) is PartAway
    bench.pass_seconds(LOST_PART_SECONDS)
    bench.database.fail(NETWORK_LOST, times=STORE_SENDS, passing=2 if not bench.has_r2 else 1)
    assert look(bench, file) is PartAway
    assert look(bench, file) is BlobMissing
    bench.run(bench.store.delete(file.key))
    assert look(bench, file) is BlobMissing


@pytest.mark.parametrize("when", ["after", "later", "before"])
def test_a_lost_answer_to_delete_is_no_other_answer(bench: FileBench, when: str):
    file, other = bench.upload(b"abc"), bench.upload(b"de")
    bench.database.fail(NETWORK_LOST, when)  # type: ignore[arg-type]
    assert bench.run(bench.store.delete(file.key)) is True
    bench.run(bench.database.land())
    assert bench.use() == 2
    assert [row["id"] for row in bench.rows()] == [other.key]


def test_a_file_that_a_batch_reads_is_kept(bench: FileBench):
    file = bench.upload(b"abc", keeps_ms=DAY_MS)
    bench.read_by_batch(file.key)
    assert bench.run(bench.store.delete(file.key)) is False
    bench.run(bench.store.abort(file.key))
    bench.pass_seconds(2 * DAY_MS / 1000)
    assert bench.run(bench.store.file(file.key)) == file
    assert bench.sweep() == 0
    assert bench.use() == 3
    assert bench.run(bench.store.read(file, 0, 3)) == b"abc"
    bench.end_batch()
    assert bench.run(bench.store.file(file.key)) is None
    assert bench.run(bench.store.delete(file.key)) is None
    assert bench.sweep() == 1
    assert_nothing_left(bench)


def test_an_expired_file_that_is_in_use_is_looked_at_later(bench: FileBench):
    file = bench.upload(b"abc", keeps_ms=DAY_MS)
    bench.read_by_batch(file.key)
    bench.pass_seconds(DAY_MS / 1000)
    assert bench.run(bench.store.work(9)).files == [file.key]
    bench.sweep()
    assert not bench.run(bench.store.work(9)).files
    bench.pass_seconds(FILE_IN_USE_SECONDS)
    assert bench.run(bench.store.work(9)).files == [file.key]


def test_a_growing_file_is_not_deleted(bench: FileBench):
    file = bench.upload(b"abc")
    bench.database.rows("UPDATE files SET state = 'growing', owner = 'local:batch' WHERE id = ?", file.key)
    assert bench.run(bench.store.delete(file.key)) is False
    found = bench.run(bench.store.file(file.key))
    assert found == replace(file, owner="local:batch", growing=True)
    assert_sound(bench)


def test_expired_files_are_erased(bench: FileBench):
    kept = bench.upload(b"kept")
    for _ in range(3):
        bench.upload(b"ab", keeps_ms=DAY_MS)
    bench.upload(b"cd", key=bench.key("other"), keeps_ms=DAY_MS)
    bench.pass_seconds(DAY_MS / 1000)
    assert [
        file.key for file in bench.run(bench.store.files(TENANT, purpose=None, after=None, most=9, newest_first=True))
    ] == [kept.key]
    assert bench.sweep(2) == 2
    assert_sound(bench)
    assert bench.sweep() == 2
    assert bench.sweep() == 0
    assert (bench.use(), bench.use("other"), len(bench.stored())) == (4, 0, 1)
    assert_sound(bench)


def test_two_sweeps_at_once_erase_a_file_once(bench: FileBench):
    bench.upload(b"ab", keeps_ms=1)
    bench.upload(b"c")
    bench.pass_seconds(1)
    first, second = bench.run(bench.store.work(9)), bench.run(bench.store.work(9))
    assert (bench.run(bench.store.erase(first)), bench.run(bench.store.erase(second))) == (1, 0)
    assert bench.use() == 1


def test_a_sweep_goes_on_after_a_bucket_without_an_answer(in_r2: FileBench):
    for _ in range(3):
        in_r2.upload(b"ab", keeps_ms=1)
    in_r2.pass_seconds(1)
    work = in_r2.run(in_r2.store.work(9))
    in_r2.r2.calls.clear()
    in_r2.r2.fail("", "after", times=0)

    async def fail_second() -> None:
        real = in_r2.r2.list

        async def flaky(prefix: str, after: str, most: int) -> object:
            if in_r2.r2.calls.count("list") == 1:
                in_r2.r2.fail(INTERNAL, times=3)
            return await real(prefix, after, most)

        in_r2.r2.list = flaky  # type: ignore[method-assign,assignment]
        try:
            with pytest.raises(BlobUnavailable):
                await in_r2.store.erase(work)
        finally:
            in_r2.r2.list = real  # type: ignore[method-assign]

    in_r2.run(fail_second())
    assert len(in_r2.rows()) == 2
    assert in_r2.use() == 0
    assert in_r2.sweep() == 0
    in_r2.pass_seconds(FILE_ERASE_SECONDS + 1)
    assert in_r2.sweep() == 2
    assert_nothing_left(in_r2)


def test_output_files_end_with_their_task(bench: FileBench):
    from tests.support.store_bench import StoreBench

    tasks = StoreBench()
    tasks.database.close()
    tasks.database, tasks.time_ms = bench.database, bench.time_ms
    tasks.store = type(tasks.store)(Database(bench.database, bench.meter))
    task = tasks.insert("local:task")
    for state in ("growing", "ready"):
        file = bench.upload(b"abc")
        bench.database.rows("UPDATE files SET state = ?, owner = ? WHERE id = ?", state, task, file.key)
    other = bench.upload(b"z")
    bench.run(tasks.store.erase(task))
    found = bench.run(bench.store.files(TENANT, purpose=None, after=None, most=9, newest_first=True))
    assert [file.key for file in found] == [other.key]
    assert bench.sweep() == 2
    assert (bench.use(), len(bench.rows()), len(bench.stored())) == (1, 1, 1)


def test_a_part_that_no_row_names_is_erased_after_a_day(bench: FileBench):
    file = bench.upload(b"abc", b"def")
    gone = bench.key()
    bench.run(bench.store.bucket.put(gone, "0", b"late"))
    bench.run(bench.store.bucket.put(file.key, "unnamed", b"late"))
    assert bench.run(bench.store.erase_orphans(100)) == 0
    bench.pass_seconds(ORPHAN_SECONDS - 1)
    assert bench.run(bench.store.erase_orphans(100)) == 0
    bench.run(bench.store.bucket.put(bench.key(), "0", b"young"))
    bench.pass_seconds(ORPHANS_APART_SECONDS)
    assert bench.run(bench.store.erase_orphans(100)) == 2
    assert len(bench.stored()) == 3
    assert bench.run(bench.store.read(file, 0, 6)) == b"abcdef"


def test_a_search_goes_on_where_the_last_one_ended(bench: FileBench):
    kept = [bench.upload(b"kept").key for _ in range(2)]
    keys = [bench.key() for _ in range(5)]
    for key in keys:
        bench.run(bench.store.bucket.put(key, "0", b"late"))
    bench.pass_seconds(2 * ORPHAN_SECONDS)
    erased = []
    for _ in range(5):
        erased.append(bench.run(bench.store.erase_orphans(2)))
        assert bench.run(bench.store.erase_orphans(2)) == 0
        bench.pass_seconds(ORPHANS_APART_SECONDS)
    assert erased == [0, 2, 2, 1, 0]
    assert sorted(file for file, _ in bench.stored()) == kept


def test_a_search_is_wanted_once_an_hour(bench: FileBench):
    places = ["r2", "d1"] if bench.has_r2 else ["d1"]
    assert sorted(bench.run(bench.store.work(1)).shelves) == sorted(places)
    bench.run(bench.store.erase_orphans(9))
    assert bench.run(bench.store.work(1)).shelves == []
    bench.pass_seconds(ORPHANS_APART_SECONDS + 1)
    assert sorted(bench.run(bench.store.work(1)).shelves) == sorted(places)


def test_objects_of_others_are_left_alone(in_r2: FileBench):
    foreign = ["a", "local/b", "local/file-x/0", f"local/file-{'0' * 32}", f"local/file-{'0' * 32}/"]
    for key in foreign:
        in_r2.run(in_r2.r2.put(key, b"x"))
    assert in_r2.sweep_orphans() == 0
    assert sorted(in_r2.r2.objects) == sorted(foreign)


def test_a_put_that_lands_after_the_erasure_is_found(in_r2: FileBench):
    key = in_r2.key()
    in_r2.run(in_r2.store.begin(key, in_r2.time_ms))
    in_r2.r2.fail(INTERNAL, "later", times=3)
    with pytest.raises(BlobUnavailable):
        in_r2.run(in_r2.store.bucket.put(key, "0", b"abc"))
    in_r2.run(in_r2.store.abort(key))
    in_r2.r2.land()
    assert len(in_r2.stored()) == 1
    assert in_r2.sweep_orphans() == 1
    assert_nothing_left(in_r2)


async def _file_work(tasks: TaskStore) -> bool:
    (((work,)),) = (await tasks.due(10, looks=[file_work(Settings())])).looked
    return bool(work["wanted"])


def test_a_tenant_s_only_upload_starts_the_search(bench: FileBench):
    """A sweep that never saw a file still searches: the first upload may be gone before it, and its put land later."""
    tasks = bench.store.beside(TaskStore)
    assert not bench.run(_file_work(tasks))
    key = bench.key()
    bench.run(bench.store.begin(key, bench.time_ms))
    bench.run(bench.store.abort(key))
    assert bench.rows() == []
    assert not bench.run(_file_work(tasks))
    bench.run(bench.store.bucket.put(key, "0", b"late"))
    bench.pass_seconds(ORPHAN_SECONDS + 1)
    assert bench.run(_file_work(tasks))
    assert bench.run(bench.store.erase_orphans(10)) == 1
    assert not bench.run(_file_work(tasks))
    assert bench.stored() == {}


def test_a_sweep_looks_for_expired_files_between_two_searches(bench: FileBench):
    tasks = bench.store.beside(TaskStore)
    bench.upload(b"ab", keeps_ms=10_000)
    bench.run(bench.store.erase_orphans(10))
    assert not bench.run(_file_work(tasks))
    bench.pass_seconds(10)
    assert bench.run(_file_work(tasks))


def test_a_tenant_has_a_number_of_files(bench: FileBench):
    """Uploads in progress count too, another tenant's files and those of batches do not, and a resend counts once."""
    first = bench.key()
    assert bench.run(bench.store.begin(first, bench.time_ms, 2)) is None
    assert bench.run(bench.store.begin(first, bench.time_ms, 1)) is None
    bench.upload(b"x", key=bench.key("other"))
    file = bench.upload(b"y")
    refused = bench.key()
    assert bench.run(bench.store.begin(refused, bench.time_ms, 2)) == TooManyFiles(2)
    assert [row["id"] for row in bench.rows() if row["id"] == refused] == []
    bench.database.rows("UPDATE files SET owner = 'task' WHERE id = ?", file.key)
    assert bench.run(bench.store.begin(refused, bench.time_ms, 2)) is None


def test_files_in_d1_stay_readable_with_a_bucket():
    bench = FileBench(r2=False)
    old = bench.upload(b"old")
    bench.store = FileStore(Database(bench.database, bench.meter), bench.bucket())
    new = bench.upload(b"new")
    assert (old.shelf, new.shelf) == ("d1", "r2")
    assert [bench.run(bench.store.read(file, 0, 3)) for file in (old, new)] == [b"old", b"new"]
    assert [bench.run(bench.store.delete(file.key)) for file in (old, new)] == [True, True]
    assert_nothing_left(bench)
    bench.database.close()


def test_a_file_in_r2_without_the_binding_is_unavailable(in_r2: FileBench):
    file = in_r2.upload(b"abc")
    with_r2, in_r2.store = in_r2.store, FileStore(Database(in_r2.database, in_r2.meter))
    with pytest.raises(BlobUnavailable, match="BLOBS"):
        in_r2.run(in_r2.store.read(file, 0, 3))
    assert in_r2.run(in_r2.store.delete(file.key)) is True
    assert in_r2.run(in_r2.store.file(file.key)) is None
    in_r2.store = with_r2
    assert in_r2.sweep() == 1
    assert_nothing_left(in_r2)


def test_a_range_is_read_at_once_only_if_it_is_short(bench: FileBench):
    file = bench.upload(b"abc")
    with pytest.raises(AssertionError):
        bench.run(bench.store.read(file, 0, 4))
    long = replace(file, bytes=10**8, parts=(FilePart("0", 10**8),))
    with pytest.raises(AssertionError):
        bench.run(bench.store.read(long, 0, 4 * 1024 * 1024 + 1))


def test_parts_keep_the_size_that_they_were_stored_with(in_r2: FileBench, monkeypatch: pytest.MonkeyPatch):
    file = in_r2.upload(b"abcdefgh", b"ijklmnop", b"q")
    monkeypatch.setattr(R2Bucket, "part_bytes", 4)
    assert in_r2.run(in_r2.store.read(file, 6, 17)) == b"ghijklmnopq"
    assert limits.FILE_PART_BYTES == 4_194_304


@pytest.fixture
def tight() -> Iterator[WorkerBench]:
    made = WorkerBench()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("calls_left", "statements_left", "is_erased"),
    [(5, 99, True), (4, 99, False), (0, 99, False), (99, 8, True), (99, 7, False)],
)
def test_a_run_erases_no_file_that_it_has_no_allowance_for(
    tight: WorkerBench, calls_left: int, statements_left: int, is_erased: bool
):
    """A sweep that cannot afford to erase one more file does not even look for one, and leaves it to a later sweep."""
    tight.do(file_store(tight.worker()).begin(FileKey("local:file"), START_MS))
    tight.database.rows("UPDATE files SET due_at = 1")
    worker = invocation(tight, calls_left=calls_left, statements_left=statements_left)
    before = worker.meter.subrequests
    erasure = FileErasure(worker)
    erasure.found([{"wanted": 1}], runs_tasks=False)
    tight.do(do(erasure, SweepAllowance(tight.settings, worker.meter, None)))
    assert (worker.meter.subrequests > before) is is_erased
    assert bool(tight.database.rows("SELECT id FROM files")) is not is_erased
    assert worker.meter.subrequests <= tight.settings.subrequests
    assert worker.meter.statements <= tight.settings.statements


def test_early_erasure_waits_for_files_that_leave_the_database(tight: WorkerBench):
    """The files of erased batches free space when their bytes go, so until then a sweep erases no further tasks."""
    tight.settings = replace(tight.settings, storage_mb_most=10)
    hold(tight, 9_000_000)  # nine tenths of its limit
    fill(tight, "large", 50)
    upload(tight, "large", 3)
    tight.database.rows("UPDATE files SET expires_at = 1, due_at = 1 RETURNING id")
    assert tight.do(new_sweep(tight.worker(), ()).run()).erased == 0
    assert not tight.database.rows("SELECT id FROM files")
    tight.do(asyncio.sleep(60))
    assert tight.do(new_sweep(tight.worker(), ()).run()).erased == 50
