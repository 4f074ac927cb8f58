"""The streams of `/v1/responses`: their events, the numbers of these events, and how a stream ends early."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import CutOff
from src.kernel.api.router import handle
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import CallKey, Continue, Finish, MergeLevel, Output, Progress
from tests.support.api_bench import ApiBench, BenchRequest, bearer, data
from tests.support.event_streams import Received, read_events
from tests.support.sqlite_d1 import NETWORK_LOST

BODY = {"input": "one\n\ntwo\n\nthree and four", "background": True, "onceover": {"reduce": "concat"}}
BEGIN = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
DONE = ["output_text.done", "content_part.done", "output_item.done", "completed"]


PAID = Settings(provider="demo", chunk_chars=10, plan="paid")


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench(settings=PAID)
    yield made
    made.close()


def post(bench: ApiBench, **fields: object) -> str:
    reply = bench.call("POST", "/v1/responses", {**BODY, **fields})
    assert reply.status == 200, reply
    name: str = data(reply)["id"]
    return name


def follow(
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
    events, whole = follow(
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
    going, _ = follow(bench, "GET", f"/v1/responses/{name}?stream=true")
    assert kinds(going[:-1]) == BEGIN[:3]
    assert follow(bench, "GET", f"/v1/responses/{name}?stream=true&include_obfuscation=false")[0][:3] == going[:3]
    merged = Progress(
        step=99,
        outputs=[Output(CallKey(1, 0), "merged", 1)],
        merges=[MergeLevel(1, (3,))],
        calls_settled=4,
        calls_in_doubt=0,
        calls_minimum=4,
        completed=3,
        failed=0,
        input_tokens=0,
        output_tokens=0,
        stalls=0,
        rate_waits=0,
    )
    assert bench.run(bench.store.step(claim, merged, Finish(1_000_000, 1)))
    events = events_of(bench, name)
    assert kinds(events) == [*BEGIN, "output_text.delta", *DONE]
    assert deltas(events) == ["merged"]
    for number in range(len(events)):
        assert events_of(bench, name, number) == events[number + 1 :]


def test_a_submission_can_be_followed_at_once(bench: ApiBench):
    bench.limit(plan="free")
    events, whole = follow(bench, "POST", "/v1/responses", {**BODY, "stream": True})
    assert (kinds(events[:-1]), whole) == (["created", "queued"], False)
    name = events[0].json["response"]["id"]
    bench.complete(name.removeprefix("resp_"))
    assert events_of(bench, name)[:2] == events[:2]
    assert events_of(bench, name)[-1].name == "response.completed"


def test_a_stream_that_ends_early_says_so_and_is_broken_off(bench: ApiBench):
    name = post(bench)
    bench.work(bench.claim(name.removeprefix("resp_")), {0: "output 0"}, Continue(100_000_000))
    path = f"/v1/responses/{name}?stream=true"
    events, whole = follow(bench, "GET", path)  # the allowance
    assert not whole
    assert events[-1].name == "error"
    assert events[-1].json["error"]["code"] == "stream_interrupted"
    bench.database.fail(NETWORK_LOST, passing=2, times=6)
    events, whole = follow(bench, "GET", path)  # the database
    assert (events[-1].name, whole) == ("error", False)
    bench.database.heal()


def test_a_revoked_key_ends_the_stream():
    """A stream ends with an error within a minute after its key is revoked."""
    bench = ApiBench(settings=PAID, keys=True)
    text, admin = bench.make_key(Scope.READ, Scope.WRITE), bench.make_key()
    name = data(bench.call("POST", "/v1/responses", BODY, bearer(text)))["id"]
    bench.work(bench.claim(name.removeprefix("resp_")), {0: "output 0"}, Continue(100_000_000))
    here = bench.api
    bench.restart()  # another isolate makes this change, and this isolate does not notice it
    assert bench.call("DELETE", f"/api/keys/{text.split('_')[1]}", headers=bearer(admin)).status == 204
    bench.api, revoked_at = here, bench.loop.time()
    events, whole = follow(bench, "GET", f"/v1/responses/{name}?stream=true", headers=bearer(text))
    assert ([event.name for event in events[-2:]], whole) == (["response.output_text.delta", "error"], False)
    assert events[-1].json["error"]["code"] == "stream_interrupted"
    assert 0 < bench.loop.time() - revoked_at <= 60
    assert bench.call("GET", f"/v1/responses/{name}?stream=true", headers=bearer(text)).status == 401
    bench.close()


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
    """A request for a stream that cannot exist gets 400 with `param`, before any event."""
    reply = bench.call("GET", f"/v1/responses/{post(bench)}?{query}")
    assert (reply.status, data(reply)["error"]["param"]) == (400, field)


@pytest.mark.parametrize("value", ["true", 1, []])
def test_stream_takes_true_or_false(bench: ApiBench, value: Any):
    reply = bench.call("POST", "/v1/responses", {**BODY, "stream": value})
    assert (reply.status, data(reply)["error"]["param"]) == (400, "stream")


def test_a_task_of_the_native_api_is_no_response(bench: ApiBench):
    task = bench.submit()
    assert bench.call("GET", f"/v1/responses/resp_{task['id']}?stream=true").status == 404
