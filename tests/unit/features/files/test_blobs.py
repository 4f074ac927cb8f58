"""The buckets: how calls to R2 are sent again, given up and counted, which errors they have, and lost parts."""

from collections.abc import Iterator

import pytest

from src.features.files.blobs.d1 import D1Bucket
from src.features.files.file import touches
from src.kernel.domain.errors import BlobMissing, BlobUnavailable, StoreFull
from src.kernel.domain.limits import BLOB_SENDS
from src.kernel.store.d1 import Database
from tests.support.file_bench import FileBench
from tests.support.memory_r2 import INTERNAL, LOST, NO_BUCKET, RATE_LIMITED
from tests.support.sqlite_d1 import NETWORK_LOST


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.kernel.domain.limits.BLOB_RESEND_SECONDS", 0.0)
    monkeypatch.setattr("src.kernel.domain.limits.STORE_RESEND_SECONDS", 0.0)


@pytest.fixture
def bench() -> Iterator[FileBench]:
    made = FileBench()
    yield made
    made.database.close()


@pytest.mark.parametrize("message", [INTERNAL, RATE_LIMITED, LOST])
def test_a_passing_error_is_tried_again(bench: FileBench, message: str):
    bucket, key = bench.bucket(), bench.key()
    bench.r2.fail(message, times=BLOB_SENDS - 1)
    bench.run(bucket.put(key, "0", b"abc"))
    assert bench.meter.subrequests == BLOB_SENDS
    assert bench.run(bucket.read(key, "0", 1, 3)) == b"bc"
    bench.r2.fail(message, times=BLOB_SENDS)
    with pytest.raises(BlobUnavailable) as error:
        bench.run(bucket.read(key, "0", 0, 1))
    assert str(error.value) == "the bucket cannot be reached"


@pytest.mark.parametrize("message", [NO_BUCKET, "Too many subrequests by single Worker invocation."])
def test_a_refusal_is_not_sent_again(bench: FileBench, message: str):
    bench.r2.fail(message)
    with pytest.raises(BlobUnavailable):
        bench.run(bench.bucket().put(bench.key(), "0", b"abc"))
    assert bench.meter.subrequests == 1


def test_a_call_without_an_answer_is_given_up(bench: FileBench):
    bench.r2.fail("", "hang")
    with pytest.raises(BlobUnavailable, match="in time"):
        bench.run(bench.bucket(seconds=0.0).put(bench.key(), "0", b"abc"))
    assert bench.meter.subrequests == 1


def test_what_is_not_there_is_missing(bench: FileBench):
    for bucket in (bench.bucket(), D1Bucket(Database(bench.database, bench.meter))):
        key = bench.key()
        bench.run(bucket.put(key, "0", b"abc"))
        for name, end in (("1", 1), ("0", 4)):
            with pytest.raises(BlobMissing):
                bench.run(bucket.read(key, name, 0, end))
    bench.r2.fail("get: The requested range is not satisfiable (10039)")
    with pytest.raises(BlobMissing):
        bench.run(bench.bucket().read(bench.key(), "0", 7, 9))


def test_keys_of_a_tenant_are_reached_by_its_own_names_alone(bench: FileBench):
    bucket = bench.bucket()
    key = bench.key("a")
    other = type(key)(key.replace("a:", "ab:", 1))
    for one in (key, other):
        bench.run(bucket.put(one, "0", b"abc"))
    digits = key.partition(":")[2].replace("-", "")
    assert sorted(bench.r2.objects) == [f"a/file-{digits}/0", f"ab/file-{digits}/0"]
    assert bench.run(bucket.erase(key))
    assert list(bench.r2.objects) == [f"ab/file-{digits}/0"]


def test_a_file_of_many_parts_is_erased_in_steps(bench: FileBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("src.kernel.domain.limits.BLOB_KEYS_MOST", 2)
    monkeypatch.setattr("src.kernel.domain.limits.FILE_ROWS_ERASED", 2)
    for bucket in (bench.bucket(), D1Bucket(Database(bench.database, bench.meter))):
        key = bench.key()
        for name in "abc":
            bench.run(bucket.put(key, name, b"x"))
        assert [bench.run(bucket.erase(key)) for _ in range(2)] == [False, True]
        assert bench.run(bucket.listed("", 9)) == ([], "")


def test_errors_of_the_database_are_errors_of_the_bucket(bench: FileBench):
    """A bucket in D1 raises BlobUnavailable, except that a full database is said to be full."""
    bucket, key = D1Bucket(Database(bench.database, bench.meter)), bench.key()
    bench.database.fail(NETWORK_LOST, times=3)
    with pytest.raises(BlobUnavailable):
        bench.run(bucket.put(key, "0", b"abc"))
    bench.database.fail("D1_ERROR: Exceeded maximum DB size")
    with pytest.raises(StoreFull):
        bench.run(bucket.put(key, "0", b"abc"))
    bench.run(bucket.put(key, "0", bytes(range(256))))
    assert bench.run(bucket.read(key, "0", 0, 256)) == bytes(range(256))


LOST_RANGES = [range(10, 20), range(40, 50)]


@pytest.mark.parametrize(
    ("start", "end", "is_lost"),
    [(0, 10, False), (0, 11, True), (12, 15, True), (19, 40, True), (20, 40, False), (39, 41, True), (50, 60, False)],
)
def test_bytes_that_only_border_on_a_lost_part_are_there(start: int, end: int, *, is_lost: bool):
    assert touches(LOST_RANGES, start, end) is is_lost
