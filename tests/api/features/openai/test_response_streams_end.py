"""The streams of `/v1/responses`: their events, the numbers of these events, and how a stream ends early."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import CutOff, Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import CallKey, Continue, Finish, MergeLevel, Output
from tests.conformance.cases.steps import progress
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data
from tests.support.event_streams import Received, read_events
from tests.support.sqlite_d1 import NETWORK_LOST

BODY = {"input": "one\n\ntwo\n\nthree and four", "background": True, "onceover": {"reduce": "concat"}}
PAID = Settings(provider="demo", chunk_chars=10, plan="paid")


@pytest.fixture
def bench() -> ApiBench:
    return ApiBench(settings=PAID)


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
    output, claim = Output(CallKey(0, 0), "output 0", 1, "stop", 5_000, 7_000), bench.claim(name)
    told = progress(claim, outputs=[output], calls_settled=1, completed=1)
    assert bench.run(bench.store.step(claim, told, Continue(180_000)))
    bench.call("POST", f"/api/tasks/{name}/cancel")
    text, _ = bench.run(_followed(bench, f"/api/tasks/{name}/events"))
    (chunk,) = [event.json for event in read_events(text) if event.name == "chunk"]
    assert [chunk] == data(bench.call("GET", f"/api/tasks/{name}/chunks"))["chunks"]
    assert chunk["startedAt"] is not None


def test_each_cancellation_waits_until_no_call_can_start(bench: ApiBench):
    name = post(bench)
    bench.claim(task_id(name))
    path = f"/v1/responses/{name}/cancel"
    assert bench.call("POST", path).status == 200
    bench.database.rows("UPDATE tasks SET announced_at = ?, start_ms = 5000 RETURNING id", bench.now_ms())
    began = bench.loop.time()
    assert data(bench.call("POST", path))["status"] == "cancelled"
    assert bench.loop.time() - began == pytest.approx(5, abs=0.1)


BEGIN = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
DONE = ["output_text.done", "content_part.done", "output_item.done", "completed"]


def follow_whole(
    bench: ApiBench, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[list[Received], bool]:
    """Follow a stream. Returns its events, and whether it ended by itself (true) or was broken off."""

    async def read() -> tuple[list[Received], bool]:
        raw = b"" if body is None else json.dumps(body).encode()
        reply = await handle(
            BenchRequest(method, f"http://localhost:8787{path}", dict(headers or {}), raw), bench.api, CATALOGUE
        )
        assert reply.status == 200, reply
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert reply.parts is not None
        text, whole = "", False
        try:
            async for part in reply.parts:
                text += part
            whole = True
        except CutOff:
            pass
        assert "retry:" not in text
        assert "id:" not in [line.partition(" ")[0] for line in text.split("\n")]
        return read_events(text), whole

    read_stream: tuple[list[Received], bool] = bench.run(read())
    return read_stream


def events_of(bench: ApiBench, name: str, after: int | None = None) -> list[Received]:
    events, whole = follow_whole(
        bench, "GET", f"/v1/responses/{name}?stream=true" + ("" if after is None else f"&starting_after={after}")
    )
    assert whole
    return events


def kinds(events: list[Received]) -> list[str]:
    assert [event.name for event in events] == [event.json["type"] for event in events]
    return [event.name.removeprefix("response.") for event in events]


def deltas(events: list[Received]) -> list[str]:
    return [event.json["delta"] for event in events if event.name.endswith(".delta")]


def test_concat_has_a_delta_for_each_chunk(bench: ApiBench):
    """With `concat` each chunk's output is one delta, the later ones after a blank line."""
    name = post(bench)
    bench.complete(name.removeprefix("resp_"))
    events = events_of(bench, name)
    assert kinds(events) == [*BEGIN, *["output_text.delta"] * 3, *DONE]
    assert deltas(events) == ["output 0", "\n\noutput 1", "\n\noutput 2"]
    assert [event.json["sequence_number"] for event in events] == list(range(12))
    shown = data(bench.call("GET", f"/v1/responses/{name}"))
    assert events[-1].json["response"] == shown
    assert events[-2].json["item"] == shown["output"][0]
    assert events[-3].json["part"] == shown["output"][0]["content"][0]
    assert events[-4].json["text"] == "".join(deltas(events)) == shown["output"][0]["content"][0]["text"]
    for number in range(12):
        assert events_of(bench, name, number) == events[number + 1 :]


def test_merge_has_one_delta(bench: ApiBench):
    name = post(bench, onceover=None)
    claim = bench.claim(name.removeprefix("resp_"))
    bench.work(claim, {at: f"output {at}" for at in range(3)}, Continue(100_000_000))
    going, _ = follow_whole(bench, "GET", f"/v1/responses/{name}?stream=true")
    assert kinds(going[:-1]) == BEGIN[:3]
    assert follow_whole(bench, "GET", f"/v1/responses/{name}?stream=true&include_obfuscation=false")[0][:3] == going[:3]
    told = {"outputs": [Output(CallKey(1, 0), "merged", 1)], "merges": [MergeLevel(1, (3,))], "completed": 3}
    merged = progress(claim, step=99, calls_settled=4, calls_minimum=4, **told)
    assert bench.run(bench.store.step(claim, merged, Finish(1_000_000, 1)))
    events = events_of(bench, name)
    assert kinds(events) == [*BEGIN, "output_text.delta", *DONE]
    assert deltas(events) == ["merged"]
    for number in range(len(events)):
        assert events_of(bench, name, number) == events[number + 1 :]


def test_a_submission_can_be_followed_at_once(bench: ApiBench):
    bench.limit(plan="free")
    events, whole = follow_whole(bench, "POST", "/v1/responses", {**BODY, "stream": True})
    assert (kinds(events[:-1]), whole) == (["created", "queued"], False)
    name = events[0].json["response"]["id"]
    bench.complete(name.removeprefix("resp_"))
    assert events_of(bench, name)[:2] == events[:2]
    assert events_of(bench, name)[-1].name == "response.completed"


def test_a_stream_that_ends_early_says_so_and_is_broken_off(bench: ApiBench):
    name = post(bench)
    bench.work(bench.claim(name.removeprefix("resp_")), {0: "output 0"}, Continue(100_000_000))
    path = f"/v1/responses/{name}?stream=true"
    events, whole = follow_whole(bench, "GET", path)  # the allowance
    assert not whole
    assert events[-1].name == "error"
    assert events[-1].json["error"]["code"] == "stream_interrupted"
    bench.database.fail(NETWORK_LOST, passing=2, times=6)
    events, whole = follow_whole(bench, "GET", path)  # the database
    assert (events[-1].name, whole) == ("error", False)
    bench.database.heal()


def test_a_revoked_key_ends_the_stream():
    bench = ApiBench(settings=PAID, keys=True)
    text, admin = bench.make_key(Scope.READ, Scope.WRITE), bench.make_key()
    name = data(bench.call("POST", "/v1/responses", BODY, bearer(text)))["id"]
    bench.work(bench.claim(name.removeprefix("resp_")), {0: "output 0"}, Continue(100_000_000))
    here = bench.api
    bench.restart()  # another isolate makes this change, and this isolate does not notice it
    assert bench.call("DELETE", f"/api/keys/{text.split('_')[1]}", headers=bearer(admin)).status == 204
    bench.api, revoked_at = here, bench.loop.time()
    events, whole = follow_whole(bench, "GET", f"/v1/responses/{name}?stream=true", headers=bearer(text))
    assert ([event.name for event in events[-2:]], whole) == (["response.output_text.delta", "error"], False)
    assert events[-1].json["error"]["code"] == "stream_interrupted"
    assert 0 < bench.loop.time() - revoked_at <= 60
    assert bench.call("GET", f"/v1/responses/{name}?stream=true", headers=bearer(text)).status == 401


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("stream=yes", "stream"),
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=2", "starting_after"),
        ("stream=true&starting_after=9999999999", "starting_after"),
        ("starting_after=0", "starting_after"),
        ("stream=true&include_obfuscation=true", "include_obfuscation"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(bench: ApiBench, query: str, field: str):
    reply = bench.call("GET", f"/v1/responses/{post(bench)}?{query}")
    assert (reply.status, data(reply)["error"]["param"]) == (400, field)


@pytest.mark.parametrize("value", ["true", 1, []])
def test_stream_takes_true_or_false(bench: ApiBench, value: Any):
    reply = bench.call("POST", "/v1/responses", {**BODY, "stream": value})
    assert (reply.status, data(reply)["error"]["param"]) == (400, "stream")


def test_a_task_of_the_native_api_is_no_response(bench: ApiBench):
    task = bench.submit()
    assert bench.call("GET", f"/v1/responses/resp_{task['id']}?stream=true").status == 404
