"""A retry of a batch copies the lines without an answer: what it may read at once, and what keeps it from a copy."""

from collections.abc import Iterator

import pytest

from src.features.files.file import File
from src.features.files.store import FileStore
from src.kernel.domain import limits
from src.kernel.store.admission import AdmissionStore
from tests.support.api_bench import ApiBench, data
from tests.support.batches import content, create, ids, lines, read, run
from tests.support.memory_r2 import MemoryR2


@pytest.fixture(name="bench", params=["d1", "r2"])
def retry_bench(request: pytest.FixtureRequest) -> Iterator[ApiBench]:
    made = ApiBench()
    if request.param == "r2":
        made.blobs = MemoryR2(made.now_ms)
    yield made
    made.close()


def test_a_retry_needs_room_for_one_more_file(bench: ApiBench) -> None:
    """At the tenant's number of files the answer names the limit, as after an upload, and nothing is left behind."""
    old = run(bench, create(bench, lines(3), onceover={"maxModelCalls": 1}))
    bench.limit(files_most=1)
    before = bench.database.rows("SELECT id FROM files"), bench.database.rows("SELECT * FROM file_use")
    reply = bench.call("POST", f"{old['onceover']['task']}/retry")
    assert (reply.status, data(reply)["code"]) == (507, "files_full")
    assert "MAX_FILES" in data(reply)["detail"]
    assert (bench.database.rows("SELECT id FROM files"), bench.database.rows("SELECT * FROM file_use")) == before


def test_of_two_retries_at_once_the_second_leaves_no_copy(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run(bench, create(bench, lines(3), onceover={"maxModelCalls": 1}))
    first = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    files = bench.database.rows("SELECT id FROM files ORDER BY id")

    async def unknown(*_: object) -> None:
        """Find no batch that the key has."""

    monkeypatch.setattr(AdmissionStore, "key_holder", unknown)
    second = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    assert second["batch"] == first["batch"]
    assert bench.database.rows("SELECT id FROM files ORDER BY id") == files


def test_a_retry_reads_few_lines_at_once(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of the old input gives as many whole lines as the limit allows, and all reads together give each line."""
    old = run(bench, create(bench, lines(7), onceover={"maxModelCalls": 1}))
    missing = ids(content(bench, old["error_file_id"]))
    assert missing == [f"line-{number}" for number in range(1, 7)]
    line_bytes = len(lines(1))
    monkeypatch.setattr(limits, "RETRY_READ_BYTES_MOST", 4 * line_bytes - 2)  # one byte too few for four lines
    sizes: list[int] = []
    read_part = FileStore.read

    async def noted(self: FileStore, file: File, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return await read_part(self, file, start, end)

    monkeypatch.setattr(FileStore, "read", noted)
    task = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    assert sizes == [3 * line_bytes - 1] * 2
    ended = run(bench, read(bench, task["batch"]))
    assert ids(content(bench, ended["output_file_id"])) == missing
