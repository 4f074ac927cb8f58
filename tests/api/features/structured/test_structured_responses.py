"""`text.format` of `/v1/responses`: JSON by a schema. The OpenAI SDK's own strict models accept every answer."""

import json
from typing import Any

import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from src.kernel.calls.protocol import ModelReply
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Reduce
from tests.api.features.openai.test_responses import error, strict, task_id
from tests.support.api_bench import ENDPOINT, WEBHOOK_KEY, ApiBench, bearer, data, object_of
from tests.support.event_streams import read_events
from tests.support.scripted_model import ScriptedModel

TEXT = "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"  # the task's text has four chunks of at most ten characters


class Said(BaseModel):
    model_config = {"extra": "forbid"}

    said: list[str]


SCHEMA = Said.model_json_schema()
TITLED = object_of(title={"type": "string"})


@pytest.fixture
def bench() -> ApiBench:
    settings = Settings(provider="demo", chunk_chars=10, webhook_key=WEBHOOK_KEY)
    return ApiBench(settings=settings, provider=ScriptedModel())


def body(schema: object = SCHEMA, *, onceover: object = None, **form: Any) -> dict[str, Any]:
    named = {"type": "json_schema", "name": "Said", "schema": schema, **form}
    fields = {"background": True, "input": TEXT, "text": {"format": named}}
    return fields if onceover is None else fields | {"onceover": onceover}


def made(bench: ApiBench, asked: dict[str, Any]) -> dict[str, Any]:
    reply = bench.call("POST", "/v1/responses", asked)
    assert reply.status == 200, reply.body
    return strict(reply)


def finish(bench: ApiBench, shown: dict[str, Any]) -> dict[str, Any]:
    bench.work_on(task_id(shown))
    return strict(bench.call("GET", f"/v1/responses/{shown['id']}"))


def test_an_answer_has_the_format_and_fits_it(bench: ApiBench) -> None:
    shown = made(bench, body())
    echoed = {"type": "json_schema", "name": "Said", "description": None, "schema": SCHEMA, "strict": False}
    assert shown["text"] == {"format": echoed, "verbosity": "medium"}
    done = finish(bench, shown)
    assert done["status"] == "completed"
    assert Said.model_validate_json(Response.model_validate(done).output_text).said == TEXT.split("\n\n")
    assert done["onceover"]["usage"]["reasks"] == 0
    assert not {"gaps", "coverage", "retryOf"} & done["onceover"].keys()


@pytest.mark.parametrize(
    ("asked", "reduce"),
    [
        (body(), Reduce.CONCAT),
        (body(TITLED), Reduce.MERGE),
        (body(TITLED, onceover={"join": {"/title": "first"}}), Reduce.CONCAT),
        (body(onceover={"reduce": "merge"}), Reduce.MERGE),
        ({"background": True, "input": "x", "onceover": {"onChunkFailure": "gap"}}, Reduce.MERGE),
    ],
)
def test_joined_if_that_is_possible(bench: ApiBench, asked: dict[str, Any], reduce: Reduce) -> None:
    assert made(bench, asked)["onceover"]["reduce"] == reduce


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        (body({"type": "array"}), "unsupported_schema", "text.format.schema"),
        (body(TITLED | {"title": "a\0b"}), "unsupported_schema", "text.format.schema"),
        (body({**TITLED, "required": []}, strict=True), "unsupported_schema", "text.format.schema"),
        (body(TITLED, onceover={"reduce": "concat"}), "not_joinable", "onceover.join"),
        (body(TITLED, onceover={"join": {"/titel": "first"}}), "not_joinable", "onceover.join"),
        (body(onceover={"reduce": "merge", "join": {}}), "invalid_fields", "onceover.join"),
        (body(onceover={"maxGapShare": 0.1}), "invalid_fields", "onceover.maxGapShare"),
        (body(onceover={"join": {"/said": "both"}}), "invalid_fields", "onceover.join./said"),
        (body(name="a b"), "invalid_fields", "text.format.name"),
        (body(name="n" * (limits.SCHEMA_NAME_CHARS_MOST + 1)), "invalid_fields", "text.format.name"),
        (body(schema=None), "invalid_fields", "text.format.schema"),
        (body(strict="yes"), "invalid_fields", "text.format.strict"),
        (body(description="d"), "unsupported_parameter", "text.format.description"),
        (body(surprise=1), "unsupported_parameter", "text.format.surprise"),
        ({"background": True, "input": "x", "onceover": {"join": {}}}, "invalid_fields", "onceover.join"),
    ],
)
def test_refusals(bench: ApiBench, asked: dict[str, Any], code: str, param: str) -> None:
    reply = bench.call("POST", "/v1/responses", asked)
    assert error(reply) == (code, param)
    assert bench.count_rows() == 0


def test_the_message_has_the_pointer(bench: ApiBench) -> None:
    """The message begins with the pointer to the fault: OpenAI's errors have no field for it."""
    for wrong in ({"pattern": "(a+)+"}, {"pattern": "a\0"}):
        asked = body({**TITLED, "properties": {"title": {"type": "string", **wrong}}})
        message = data(bench.call("POST", "/v1/responses", asked))["error"]["message"]
        assert message.startswith("text.format.schema: /properties/title/pattern: ")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("no JSON", None),
        (ModelReply('{"said": ["cut', 10, 1, "length"), "max_output_tokens"),
        (ModelReply('{"said": ["cut', 10, 1, "content_filter"), "content_filter"),
        (ModelRefused("bad", of_call=True), None),
    ],
)
def test_gaps_make_it_incomplete(bench: ApiBench, said: Any, reason: str | None) -> None:
    model: Any = bench.api.provider
    model.says = {"second": [said]}
    done = finish(bench, made(bench, body(onceover={"onChunkFailure": "gap"})))
    assert (done["status"], done["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert Said.model_validate_json(Response.model_validate(done).output_text).said == [
        "first 1",
        "third 3",
        "fourth 4",
    ]
    assert [gap["chunk"] for gap in done["onceover"]["gaps"]] == [1]
    assert done["onceover"]["coverage"] == pytest.approx(1 - 10 / len(TEXT))


def test_webhooks_tell_of_it(bench: ApiBench) -> None:
    events = ["response.incomplete", "response.completed"]
    assert bench.call("POST", "/v1/webhook_endpoints", ENDPOINT | {"event_types": events}).status == 200
    heard = []
    for said in ("no JSON", '{"said": []}'):
        model: Any = bench.api.provider
        model.says = {"second": [said]}
        done = finish(bench, made(bench, body(onceover={"onChunkFailure": "gap"})))
        bench.settle()
        heard += data(bench.call("GET", f"/api/tasks/{task_id(done)}/deliveries"))["deliveries"]
    assert [delivery["type"] for delivery in heard] == events


@pytest.mark.parametrize("at_once", [limits.ANSWER_CHARS_AT_ONCE, 20])
@pytest.mark.parametrize(
    "asked",
    [
        body(),
        body(onceover={"onChunkFailure": "gap"}),
        {"background": True, "input": TEXT, "onceover": {"onChunkFailure": "gap", "reduce": "concat"}},
    ],
    ids=["schema", "schema and gaps", "gaps"],
)
def test_a_stream_has_the_text_as_one_delta(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], at_once: int
) -> None:
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", at_once)
    done = finish(bench, made(bench, asked))
    received = read_events(bench.call("GET", f"/v1/responses/{done['id']}?stream=true").body)
    text = Response.model_validate(done).output_text
    deltas = [event.json["delta"] for event in received if event.name == "response.output_text.delta"]
    assert deltas == [text]
    assert received[-1].json["response"] == done


def test_a_stream_joins_a_large_value_once(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 20)
    done = finish(bench, made(bench, body()))
    joiners: list[Any] = []

    def joiner(source: Any) -> Any:
        assert hooks.joiner_of is not None
        joiners.append(hooks.joiner_of(source))
        return joiners[-1]

    hooks = bench.api.store.hooks
    monkeypatch.setattr(bench.api.store, "hooks", hooks._replace(joiner_of=joiner))
    received = read_events(bench.call("GET", f"/v1/responses/{done['id']}?stream=true").body)
    assert received[-1].json["response"] == done
    assert len(joiners) == 1


def test_a_retry_of_gaps_is_a_response_too(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"second": ["no", "no", '{"said": ["second 2"]}']}
    old = finish(bench, made(bench, body(onceover={"onChunkFailure": "gap"})))
    new = data(bench.call("POST", f"/api/tasks/{task_id(old)}/retry"))
    done = finish(bench, {"id": f"resp_{new['id']}"})
    assert (done["status"], done["onceover"]["retryOf"]) == ("completed", old["id"])
    assert json.loads(Response.model_validate(done).output_text) == {"said": TEXT.split("\n\n")}


def test_a_key_that_may_not_read_sees_no_schema(bench: ApiBench) -> None:
    secret = bench.make_key(Scope.WRITE)
    bench.limit(require_keys=True)
    shown = strict(bench.call("POST", "/v1/responses", body(), bearer(secret)))
    assert (shown["text"]["format"]["name"], shown["text"]["format"]["schema"]) == ("output", {})


def test_a_failed_response_has_no_text(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"second": ["no JSON"]}
    done = finish(bench, made(bench, body()))
    assert (done["status"], done["output"]) == ("failed", [])
    assert done["onceover"]["error"]["code"] == "invalid_output"
