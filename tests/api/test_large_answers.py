"""Large answers: pages of chunks, and answers sent in parts."""

from collections.abc import AsyncGenerator, Mapping
from itertools import chain
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.task import Failure, FinishedChunk
from src.kernel.store.claims import Continue, Fail, Finish
from src.kernel.store.rows import ChunkIndex
from src.kernel.store.views import TaskGone, ViewStore
from tests.support.api_bench import ApiBench, BenchRequest, data, key

FAILURE = Failure(TaskCode.MODEL_UNAVAILABLE, "the model server answered 503", True)


def submit(bench: ApiBench, chunks: int, **fields: object) -> str:
    body = {"input": "word " * chunks, "chunk": {"maxChars": 5}, **fields}
    path: str = data(bench.call("POST", "/api/tasks", body))["links"]["self"]
    return path


def record(bench: ApiBench, path: str, outputs: Mapping[int, str], *, end: bool = True) -> None:
    claim = bench.claim(path.rpartition("/")[2])
    bench.work(claim, outputs, Finish(1_000_000) if end else Continue(180_000))


def pages(bench: ApiBench, path: str, limit: int) -> list[list[Any]]:
    found, cursor = [], ""
    while True:
        page = data(bench.call("GET", f"{path}/chunks?limit={limit}{cursor}"))
        found.append(page["chunks"])
        if page["nextCursor"] is None:
            return found
        cursor = f"&cursor={page['nextCursor']}"


def test_pages_are_the_whole_list_in_order(bench: ApiBench):
    path = submit(bench, 11)
    claim = bench.claim(path.rpartition("/")[2])
    outputs = {index: f"output {index}" for index in (*range(4), 6, 5, 9)}
    bench.work(claim, outputs, Continue(180_000), failed=FAILURE)  # the chunk with the index 7 has failed
    whole = data(bench.call("GET", f"{path}/chunks"))
    assert whole["nextCursor"] is None
    assert [chunk["index"] for chunk in whole["chunks"]] == [0, 1, 2, 3, 5, 6, 7, 9]
    for limit, sizes in ((1, [1] * 8), (3, [3, 3, 2]), (4, [4, 4]), (8, [8]), (5000, [8])):
        found = pages(bench, path, limit)
        assert [len(page) for page in found] == sizes
        assert list(chain.from_iterable(found)) == whole["chunks"]
    rest = data(bench.call("GET", f"{path}/chunks?cursor=6"))
    assert (rest["chunks"], rest["nextCursor"]) == (whole["chunks"][5:], None)


def test_a_page_of_long_outputs_is_shorter(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    path = submit(bench, 4)
    record(bench, path, {0: "a" * 40, 1: "b" * 40, 2: "c" * 300, 3: "d"})
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 100)
    assert [[chunk["index"] for chunk in page] for page in pages(bench, path, 50)] == [[0, 1], [2], [3]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=5001", "limit=x", "cursor=x", "cursor=-1", "cursor=99999"]
)
def test_what_cannot_be_a_page_is_refused_by_name(bench: ApiBench, query: str):
    reply = bench.call("GET", f"{submit(bench, 1)}/chunks?{query}")
    assert reply.status == 422
    assert [error["field"] for error in data(reply)["errors"]] == [query.partition("=")[0]]


async def _all_of(parts: AsyncGenerator[str]) -> list[str]:
    return [part async for part in parts]


@pytest.mark.parametrize("reduce", ["concat", "none"])
def test_a_large_answer_says_what_a_small_one_does(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, reduce: str):
    path = submit(bench, 12, reduce=reduce, metadata={"result": '"', "chunks": "]"})
    record(bench, path, {index: f'{index} "quoted" \\ 文字\n𝒳{"z" * index}' for index in (*range(6, 12), *range(6))})
    paths = (path, f"{path}?include=chunks", f"{path}/chunks", f"{path}/chunks?cursor=5")
    small = [data(bench.call("GET", one)) for one in paths]
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 70)
    for one, wanted in zip(paths, small, strict=True):
        sent = bench.run(handle(BenchRequest("GET", one, {}, b""), bench.api, CATALOGUE))
        assert len(bench.run(_all_of(sent.parts))) > 1
        assert data(bench.call("GET", one)) == wanted
        assert bench.call("HEAD", one).body == ""


@pytest.mark.parametrize("query", ["", "?include=chunks", "/chunks"])
def test_an_answer_does_not_end_if_its_task_is_erased_meanwhile(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, query: str
):
    path = submit(bench, 5, reduce="none")
    record(bench, path, {index: f"output {index}" + "z" * 50 for index in range(5)})
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 70)
    parts = bench.run(handle(BenchRequest("GET", f"{path}{query}", {}, b""), bench.api, CATALOGUE)).parts
    assert parts is not None
    sent = ""
    while "output 1" not in sent:
        sent += bench.run(anext(parts))
    assert bench.call("DELETE", path).status == 204

    async def rest() -> None:
        async for _ in parts:
            pass

    with pytest.raises(TaskGone):
        bench.run(rest())


@pytest.mark.parametrize("query", ["?limit=2", "?limit=2&cursor=2"])
def test_no_page_of_a_task_that_is_erased_meanwhile(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, query: str):
    path = submit(bench, 5)
    record(bench, path, {index: f"output {index}" for index in range(5)})
    read = ViewStore.some_chunks

    async def late(store: ViewStore, index: ChunkIndex, places: range, **more: Any) -> list[FinishedChunk]:
        await bench.store.erase(index.task_key)
        return await read(store, index, places, **more)

    monkeypatch.setattr(ViewStore, "some_chunks", late)
    assert bench.call("GET", f"{path}/chunks{query}").status == 404


def test_chunks_that_end_while_they_are_read_change_no_page(bench: ApiBench):
    """Else a page would be longer, or show a chunk twice, once as failed."""
    path = submit(bench, 4)
    task_id = path.rpartition("/")[2]
    bench.work(bench.claim(task_id), {0: "output 0"}, Continue(180_000), failed=FAILURE)  # the chunk at 1
    bench.pass_seconds(181)
    bench.work(bench.claim(task_id), {3: "output 3"}, Fail(1_000_000, FAILURE))
    index = bench.run(bench.store.chunk_index(key(task_id)))
    (page,) = index.pages(0, 3)
    before = bench.run(bench.store.some_chunks(index, page))
    assert [(chunk.index, chunk.output) for chunk in before] == [(0, "output 0"), (1, None), (3, "output 3")]
    assert bench.call("POST", f"{path}/retry").status == 202
    bench.complete(task_id)
    assert bench.run(bench.store.some_chunks(index, page)) == before
    shown = data(bench.call("GET", f"{path}/chunks?limit=4"))["chunks"]
    assert [(chunk["index"], chunk["error"]) for chunk in shown] == [(index, None) for index in range(4)]


def test_many_chunks_are_shown_in_parts(bench: ApiBench):
    count = limits.CHUNKS_AT_ONCE + 1
    path = submit(bench, count)
    record(bench, path, {index: f"output {index}" for index in range(count)})
    assert bench.run(handle(BenchRequest("GET", f"{path}/chunks", {}, b""), bench.api, CATALOGUE)).parts is not None
    shown = data(bench.call("GET", f"{path}/chunks"))["chunks"]
    assert [chunk["output"] for chunk in shown] == [f"output {index}" for index in range(count)]
