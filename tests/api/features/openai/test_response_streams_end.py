"""Streams of `/v1/responses` that end early: no stream ends in the middle of an event."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import CutOff, Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import CallKey, Continue, Output, Progress
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data
from tests.support.event_streams import Received, read_events

BODY = {"input": "one\n\ntwo\n\nthree and four", "background": True, "onceover": {"reduce": "concat"}}
PAID = Settings(provider="demo", chunk_chars=10, plan="paid")


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench(settings=PAID)
    yield made
    made.close()


def post(bench: ApiBench, headers: Mapping[str, str] | None = None, **fields: object) -> str:
    reply = bench.call("POST", "/v1/responses", {**BODY, **fields}, headers)
    assert reply.status == 200, reply
    name: str = data(reply)["id"]
    return name


def task_id(name: str) -> str:
    return name.removeprefix("resp_")


async def opened(bench: ApiBench, method: str, path: str, body: object = None) -> Reply:
    raw = b"" if body is None else json.dumps(body).encode()
    return await handle(BenchRequest(method, f"http://localhost:8787{path}", {}, raw), bench.api, CATALOGUE)


async def text_of(reply: Reply) -> tuple[str, bool]:
    assert reply.parts is not None
    parts: list[str] = []
    try:
        async for part in reply.parts:
            parts.append(part)  # noqa: PERF401 - those before the cut count
    except CutOff:
        return "".join(parts), False
    return "".join(parts), True


def follow(bench: ApiBench, name: str, after: int | None = None) -> tuple[str, bool]:
    behind = "" if after is None else f"&starting_after={after}"
    text, whole = bench.run(_followed(bench, f"/v1/responses/{name}?stream=true{behind}"))
    return text, whole


async def _followed(bench: ApiBench, path: str) -> tuple[str, bool]:
    return await text_of(await opened(bench, "GET", path))


def lose_database(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    batch, left = bench.database.batch, [calls]

    async def cut(statements: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("D1_ERROR: Network connection lost.")
        return await batch(statements)

    monkeypatch.setattr(bench.database, "batch", cut)


@pytest.mark.parametrize("calls", range(2, 16))
def test_an_error_is_an_event_of_its_own(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, calls: int):
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 12)
    name = post(bench)
    bench.complete(task_id(name))
    lose_database(bench, monkeypatch, calls)
    text, whole = follow(bench, name)
    *others, last = read_events(text)
    assert (last.name, last.json["type"]) == (("response.completed",) * 2 if whole else ("error",) * 2)
    half = not whole and others and not others[-1].data.endswith("}")
    for event in others[:-1] if half else others:
        assert event.json["type"] == event.name != "error"


def test_the_allowance_ends_a_stream_between_events(bench: ApiBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 12)
    monkeypatch.setitem(limits.SUBREQUESTS, "paid", 9)
    name = post(bench)
    bench.complete(task_id(name))
    bench.api = replace(bench.api, meter=bench.meter)
    seen: list[Received] = []
    for _ in range(9):
        bench.meter.subrequests = 0
        text, whole = follow(bench, name, seen[-1].json["sequence_number"] if seen else None)
        assert bench.meter.subrequests <= 9
        assert text.endswith("\n\n")
        events = read_events(text)
        seen += events if whole else events[:-1]
        if whole:
            break
        assert events[-1].name == "error"
    assert [event.json["sequence_number"] for event in seen] == list(range(12))
    assert seen[-1].name == "response.completed"


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_outputs_beyond_the_count_are_told(bench: ApiBench, ending: str):
    """A stream sends all outputs, also those of an ended task beyond its count."""
    own = {"reduce": "concat", "deadlineSeconds": 60}
    name = post(bench, input="\n\n".join(f"part {at:05}" for at in range(40)), onceover=own)
    claim = bench.claim(task_id(name))
    bench.work(claim, {0: "output 0", 1: "output 1"}, Continue(180_000))
    if ending == "cancelled":
        bench.call("POST", f"/v1/responses/{name}/cancel")
    else:
        bench.pass_seconds(61)
    assert data(bench.call("GET", f"/v1/responses/{name}"))["status"] == ending
    # The write fails because the task has ended, but the outputs are stored, because they are paid for.
    with pytest.raises(AssertionError):
        bench.work(claim, {at: f"output {at}" for at in range(2, 40)}, Continue(180_000), completed=40)
    events = read_events(follow(bench, name)[0])
    assert sum(event.name.endswith(".delta") for event in events) == 40
    assert [event.json["sequence_number"] for event in events] == list(range(46))
    native = bench.run(_followed(bench, f"/api/tasks/{task_id(name)}/events"))[0]
    assert native.count("event: chunk") == 40


def test_a_chunk_is_told_with_its_times(bench: ApiBench):
    name = task_id(post(bench))
    told = Progress(
        step=1,
        outputs=[Output(CallKey(0, 0), "output 0", 1, "stop", 5_000, 7_000)],
        calls_settled=1,
        calls_in_doubt=0,
        calls_minimum=3,
        completed=1,
        failed=0,
        input_tokens=0,
        output_tokens=0,
        stalls=0,
        rate_waits=0,
    )
    assert bench.run(bench.store.step(bench.claim(name), told, Continue(180_000)))
    bench.call("POST", f"/api/tasks/{name}/cancel")
    text, _ = bench.run(_followed(bench, f"/api/tasks/{name}/events"))
    (chunk,) = [event.json for event in read_events(text) if event.name == "chunk"]
    assert [chunk] == data(bench.call("GET", f"/api/tasks/{name}/chunks"))["chunks"]
    assert chunk["startedAt"] is not None


def test_a_key_that_only_writes_reads_no_output(bench: ApiBench):
    keyed = ApiBench(settings=PAID, keys=True)
    writer, reader = bearer(keyed.make_key(Scope.WRITE)), bearer(keyed.make_key(Scope.READ, Scope.WRITE))
    said = {"idempotency-key": "one"}
    name = post(keyed, writer | said)
    keyed.complete(task_id(name))
    calls = (("POST", f"/v1/responses/{name}/cancel", None), ("POST", "/v1/responses", BODY))
    for headers, shown in ((writer, 0), (reader, 1)):
        for method, path, body in calls:
            reply = keyed.call(method, path, body, headers | said)
            assert (data(reply)["status"], len(data(reply)["output"])) == ("completed", shown)
    before = len(keyed.database.rows("SELECT id FROM tasks"))
    refused = keyed.call("POST", "/v1/responses", {**BODY, "stream": True}, writer)
    assert (refused.status, data(refused)["error"]["code"]) == (403, "forbidden")
    assert 'scope="read"' in refused.headers["WWW-Authenticate"]
    assert len(keyed.database.rows("SELECT id FROM tasks")) == before
    keyed.close()


def test_each_cancellation_waits_until_no_call_can_start(bench: ApiBench):
    name = post(bench)
    bench.claim(task_id(name))
    path = f"/v1/responses/{name}/cancel"
    assert bench.call("POST", path).status == 200
    bench.database.rows("UPDATE tasks SET announced_at = ?, start_ms = 5000 RETURNING id", bench.now_ms())
    began = bench.loop.time()
    assert data(bench.call("POST", path))["status"] == "cancelled"
    assert bench.loop.time() - began == pytest.approx(5, abs=0.1)
