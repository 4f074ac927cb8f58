"""Early results: `/v1/files/{id}/content?offset=&limit=` gives each line of a growing output file once."""

import json
from collections.abc import AsyncGenerator

import pytest

from src.features.batches.store.batch_files import BatchFileStore
from src.features.batches.store.batches import SegmentLines
from src.features.files.blobs.d1 import D1Bucket
from src.features.files.blobs.r2 import R2Bucket
from src.features.files.store import FileStore
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.errors import BlobMissing, ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.store.tasks import TaskStore
from tests.support.api_bench import ApiBench, data
from tests.support.batches import Batch, Scripted, create, lines, read, run, upload, work
from tests.support.memory_r2 import MemoryR2


@pytest.fixture(name="bench", params=["d1", "r2"])
def early_bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ApiBench:
    for bucket in (D1Bucket, R2Bucket):
        monkeypatch.setattr(bucket, "part_bytes", 4_000)
    monkeypatch.setattr(limits, "SEGMENT_CHARS_OF_BATCH", 1_500)
    made = ApiBench(provider=Scripted(lambda text: None))
    if request.param == "r2":
        made.blobs = MemoryR2(made.now_ms)
    return made


def scripted(bench: ApiBench) -> Scripted:
    assert isinstance(bench.worker.provider, Scripted)
    return bench.worker.provider


def away(_text: str) -> None:
    raise ModelUnavailable


def page(bench: ApiBench, batch: Batch, query: str) -> Reply:
    reply = bench.call("GET", f"/v1/files/{batch['output_file_id']}/content{query}")
    assert reply.status == 200, reply
    assert not reply.body or reply.body.endswith("\n")
    return reply


def test_a_reader_gets_each_line_once_while_the_file_grows(bench: ApiBench) -> None:
    scripted(bench).seconds = 1.0
    batch = create(bench, lines(40))
    gathered, offset = "", 0
    for _ in range(40):
        work(bench, batch, 1.0)
        batch = read(bench, batch["id"])
        if batch["output_file_id"] is None:
            continue
        reply = page(bench, batch, f"?offset={offset}&limit=7")
        gathered += reply.body
        assert int(reply.headers["X-Last-Line"]) == offset + reply.body.count("\n")
        offset = int(reply.headers["X-Last-Line"])
        if batch["status"] == "completed":
            break
        assert reply.headers["X-Incomplete"] == "true"
        so_far = page(bench, batch, "")
        assert so_far.body.startswith(gathered)
        assert so_far.headers["X-Incomplete"] == "true"
    assert batch["status"] == "completed"
    while True:
        reply = page(bench, batch, f"?offset={offset}")
        gathered += reply.body
        offset = int(reply.headers["X-Last-Line"])
        if reply.headers["X-Incomplete"] == "false":
            break
    final = page(bench, batch, "")
    assert "X-Incomplete" not in final.headers
    assert gathered == final.body
    assert sorted(json.loads(one)["custom_id"] for one in gathered.splitlines()) == sorted(
        f"line-{n}" for n in range(40)
    )


def test_an_answer_ends_after_a_whole_line_within_its_allowance(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run(bench, create(bench, lines(20)))
    whole = page(bench, ended, "").body
    monkeypatch.setitem(limits.EARLY_BYTES_MOST, bench.settings.plan, len(whole) // 3)
    reply = page(bench, ended, "?offset=0")
    assert 0 < len(reply.body) <= len(whole) // 3
    assert whole.startswith(reply.body)
    assert reply.headers["X-Incomplete"] == "true"
    monkeypatch.setitem(limits.EARLY_BYTES_MOST, bench.settings.plan, 1)
    assert page(bench, ended, "?offset=3").body == whole.splitlines(keepends=True)[3]


@pytest.mark.parametrize("query", ["offset=-1", "offset=x", "limit=0", "limit=20001", "limit=1.5"])
def test_a_bad_value_is_refused_by_name(bench: ApiBench, query: str) -> None:
    ended = run(bench, create(bench, lines(1)))
    reply = bench.call("GET", f"/v1/files/{ended['output_file_id']}/content?{query}")
    assert (reply.status, data(reply)["error"]["param"]) == (400, query.partition("=")[0])


def test_a_listed_error_file_can_be_read_while_it_is_written(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_PORTION_BYTES", 1_000)
    monkeypatch.setitem(limits.BATCH_PORTIONS_A_WRITER, bench.settings.plan, 2)
    made = create(bench, lines(40))
    scripted(bench).before = away
    for _ in range(9):
        work(bench, made, 5.0)
    assert bench.call("POST", f"/v1/batches/{made['id']}/cancel").status == 200
    bench.pass_seconds(600)
    seen: list[str] = []
    for _ in range(30):
        listed = data(bench.call("GET", "/v1/files?purpose=batch_output"))["data"]
        (error_file,) = [one for one in listed if one["filename"].endswith("_error.jsonl")] or [None]
        if error_file is None:
            read(bench, made["id"])
            bench.settle()
            continue
        reply = bench.call("GET", f"/v1/files/{error_file['id']}/content")
        assert reply.status == 200, reply
        assert not reply.body or reply.body.endswith("\n")
        if "X-Incomplete" not in reply.headers:
            break
        assert reply.headers["X-Incomplete"] == "true"
        seen.append(reply.body)
        refusal = bench.call("GET", f"/v1/files/{error_file['id']}/content?offset=1")
        assert (refusal.status, data(refusal)["error"]["param"]) == (400, "offset")
        read(bench, made["id"])
        bench.settle()
    assert read(bench, made["id"])["status"] == "cancelled"
    assert seen
    assert all(reply.body.startswith(one) for one in seen)
    assert reply.body.count("\n") == 40


def test_a_batch_that_is_erased_just_now_is_not_found(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(bench, create(bench, lines(2)))
    read_lines = BatchFileStore.lines

    async def erased(self: BatchFileStore, task_key: TaskKey) -> list[SegmentLines]:
        await self.beside(TaskStore).erase(task_key)
        return await read_lines(self, task_key)

    monkeypatch.setattr(BatchFileStore, "lines", erased)
    reply = bench.call("GET", f"/v1/files/{ended['output_file_id']}/content?offset=2")
    assert (reply.status, data(reply)["error"]["code"]) == (404, "not_found")


def test_a_file_that_is_erased_just_now_is_not_found(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run(bench, create(bench, lines(2)))

    async def erased(*_: object) -> AsyncGenerator[bytes]:
        bench.database.rows("UPDATE files SET state = 'erasing'")
        raise BlobMissing
        yield b""

    monkeypatch.setattr(FileStore, "pieces", erased)
    reply = bench.call("GET", f"/v1/files/{ended['output_file_id']}/content")
    assert (reply.status, data(reply)["error"]["code"]) == (404, "not_found")


def test_a_batch_without_answers_yet_has_an_empty_file(bench: ApiBench) -> None:
    scripted(bench).before = away
    batch = create(bench, lines(2))
    work(bench, batch, 5.0)
    batch = read(bench, batch["id"])
    assert batch["status"] == "in_progress"
    reply = page(bench, batch, "")
    assert (reply.body, reply.headers["X-Incomplete"], reply.headers["X-Last-Line"]) == ("", "true", "0")
    assert bench.call("DELETE", f"/v1/files/{batch['output_file_id']}").status == 409


def test_only_output_files_have_lines(bench: ApiBench) -> None:
    file = upload(bench, lines(1))
    reply = bench.call("GET", f"/v1/files/{file}/content?offset=0")
    assert (reply.status, data(reply)["error"]["param"]) == (400, "offset")
