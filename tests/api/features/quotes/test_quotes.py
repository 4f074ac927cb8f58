"""Quotes in outputs: the result has the input's own text and its places, in both APIs, whatever the model wrote."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from tests.api.features.openai.test_responses import strict, task_id
from tests.support.api_bench import ApiBench, bearer, data, object_of
from tests.support.batches import upload
from tests.support.event_streams import read_events
from tests.support.memory_r2 import MemoryR2

QUOTE = {"type": ["string", "null"], "x-onceover": "quote", "description": "word for word"}
FACT = object_of(fact={"type": "string"}, quote=QUOTE)
SCHEMA = object_of(facts={"type": "array", "items": FACT}, title=QUOTE)
ISLES = "Åland ceded “two” isles."
TEXT = f"{ISLES}\n\n𝒜da paid 5 coins. 𝒜da paid 5 coins.\n\nNobody – truly – came.\n\n{ISLES}"


class Quoting:
    """A model that quotes each sentence of a chunk in disguise, and one that is nowhere; merges repeat the facts."""

    name = "demo"
    default_model = "quoting-1"

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.refuses = ""

    async def infer(self, call: ModelCall) -> ModelReply:
        self.calls.append(call)
        assert call.form is not None
        assert '"x-onceover": "quote"' not in json.dumps(call.form.schema)
        if self.refuses and self.refuses in call.user:
            raise ModelRefused("no", of_call=True)
        return ModelReply(json.dumps(self.answer(call)), 10, 1, "stop")

    def answer(self, call: ModelCall) -> dict[str, Any]:
        if call.user.startswith("{"):
            below = [json.loads(output) for output in call.user.split("\n\n")]
            facts = [fact for output in below for fact in output["facts"]]
            return {"facts": [*facts, {"fact": "made", "quote": "Åland"}], "title": below[-1]["title"]}
        said = [f"{sentence.strip('. ')}." for sentence in call.user.strip().split(". ")]
        facts = [{"fact": "one", "quote": sentence.translate(DISGUISE)} for sentence in said]
        return {
            "facts": [*facts, {"fact": "lie", "quote": "not there"}, {"fact": "", "quote": None}],
            "title": said[0][:5],
        }

    async def probe(self) -> Health:
        return Health("healthy", "")


DISGUISE = str.maketrans({"“": '"', "”": '"', "–": "-", " ": "\u00a0"})


@pytest.fixture
def bench() -> ApiBench:
    made = ApiBench(settings=Settings(provider="demo", chunk_chars=40), provider=Quoting())
    made.blobs = MemoryR2(made.now_ms)
    return made


def body(**fields: Any) -> dict[str, Any]:
    return {"input": TEXT, "outputSchema": SCHEMA, "reduce": "none", **fields}


def done(bench: ApiBench, **fields: Any) -> Any:
    return bench.finish(bench.submit(**{"text": TEXT, "outputSchema": SCHEMA, "reduce": "none"} | fields)["id"])


def at(value: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        value = value[int(token)] if isinstance(value, list) else value[token]
    return value


def checked(value: Any, quotes: Sequence[dict[str, Any]], text: str = TEXT) -> list[str]:
    """Return the quotes of a value. Each is the input's own text, and no other field of the value is a quote."""
    found = [at(value, quote["pointer"]) for quote in quotes]
    assert found == [text[quote["start"] : quote["end"]] for quote in quotes]
    outputs = value if isinstance(value, list) else [value]
    fields = [field for one in outputs if one for field in (*[fact["quote"] for fact in one["facts"]], one["title"])]
    assert sorted(found) == sorted(field for field in fields if field is not None)
    return found


SENTENCES = ["Åland ceded “two” isles.", "𝒜da paid 5 coins.", "𝒜da paid 5 coins.", "Nobody – truly – came."]


def test_quotes_are_the_inputs_own_text(bench: ApiBench) -> None:
    task = done(bench)
    assert task["status"] == "completed"
    quotes = task["result"]["quotes"]
    found = checked(task["result"]["value"], quotes)
    assert [one for one in found if len(one) > 5] == [*SENTENCES, SENTENCES[0]]
    assert len({(quote["start"], quote["end"]) for quote in quotes}) == len(quotes)  # the second equal one is behind
    assert [one["fact"] for one in task["result"]["value"][0]["facts"]] == ["one", "lie", ""]
    assert task["usage"]["quotesNotFound"] == 4
    bench.pass_seconds(1)
    (bucket,) = data(bench.call("GET", "/api/history?hours=1"))["buckets"]
    assert bucket["quotesNotFound"] == 4
    assert 'onceover_quotes_not_found_total{route="queue"} 4\n' in bench.call("GET", "/api/metrics").body
    assert json.loads(task["result"]["output"][0])["facts"][0]["quote"] == SENTENCES[0]
    assert task["request"]["outputSchema"] == SCHEMA


def test_joined_values_keep_the_places(bench: ApiBench) -> None:
    """`concat` shifts pointers into joined arrays, `union` keeps the first place, and `last` the last output's."""
    task = done(bench, reduce="concat", join={"/title": "last"})
    found = checked(task["result"]["value"], task["result"]["quotes"])
    assert [one for one in found if len(one) > 5] == [*SENTENCES, SENTENCES[0]]
    assert found[-1] == "Åland"
    assert task["result"]["quotes"][-1]["start"] > TEXT.index("came")
    task = done(bench, reduce="concat", join={"/title": "first", "/facts": "union"})
    quotes = task["result"]["quotes"]
    assert [one for one in checked(task["result"]["value"], quotes) if len(one) > 5] == [
        SENTENCES[i] for i in (0, 1, 3)
    ]
    assert [quote["start"] for quote in quotes] == sorted(quote["start"] for quote in quotes)
    assert quotes[0]["start"] == 0


def test_a_merge_keeps_quotes_and_makes_none(bench: ApiBench) -> None:
    task = done(bench, reduce="merge")
    value, quotes = task["result"]["value"], task["result"]["quotes"]
    found = checked(value, quotes)
    assert [one for one in found if len(one) > 5] == [*SENTENCES, SENTENCES[0]]
    ends = [quote["end"] for quote in quotes if at(value, quote["pointer"]) == SENTENCES[0]]
    assert ends == [24, 24]
    assert [fact["quote"] for fact in value["facts"] if fact["fact"] == "made"] == ["Åland"]
    assert task["usage"]["quotesNotFound"] == 4
    bench.api.provider.answer = lambda call: {"facts": [], "title": "Åland ceded"}  # type: ignore[attr-defined]
    task = done(bench, reduce="merge", text=f"{TEXT}\n\nÅland ceded it.")
    assert (task["result"]["value"]["title"], task["result"]["quotes"][0]["start"]) == ("Åland ceded", 0)


def test_what_a_merge_quotes_must_be_a_quote_below(bench: ApiBench) -> None:
    answer = bench.api.provider.answer  # type: ignore[attr-defined]

    def with_made_title(call: ModelCall) -> Any:
        return answer(call) | ({"title": "coins"} if call.user.startswith("{") else {})

    bench.api.provider.answer = with_made_title  # type: ignore[attr-defined]
    task = done(bench, reduce="merge")
    assert task["result"]["value"]["title"] is None
    assert task["usage"]["quotesNotFound"] > 4


@pytest.mark.parametrize("reduce", ["none", "concat"])
def test_a_large_result_has_the_same_quotes(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, reduce: str) -> None:
    join = {"join": {"/title": "last", "/facts": "union"}} if reduce == "concat" else {}
    task = done(bench, reduce=reduce, **join)
    shown = None
    if reduce != "none":
        named = {"type": "json_schema", "name": "Facts", "schema": SCHEMA, "strict": True}
        asked = {"background": True, "input": TEXT, "text": {"format": named}, "onceover": {"reduce": reduce, **join}}
        shown = strict(bench.call("POST", "/v1/responses", asked))
        assert "quotes" not in shown["onceover"]
        bench.finish(task_id(shown))
        shown = strict(bench.call("GET", f"/v1/responses/{shown['id']}"))
        assert shown["onceover"]["quotes"] == task["result"]["quotes"]
        assert shown["onceover"]["usage"]["quotesNotFound"] == 4
    monkeypatch.setattr(limits, "QUOTES_AT_ONCE", 3)
    monkeypatch.setattr(limits, "QUOTED_CHARS_AT_ONCE", 150)
    monkeypatch.setattr(limits, "JOINED_CHARS_HELD", 0)
    monkeypatch.setattr(limits, "UNION_CHARS_AT_ONCE", 100)
    assert data(bench.call("GET", f"/api/tasks/{task['id']}"))["result"] == task["result"]
    if shown is not None:
        assert strict(bench.call("GET", f"/v1/responses/{shown['id']}")) == shown
        events = read_events(bench.call("GET", f"/v1/responses/{shown['id']}?stream=true").body)
        assert events[-1].json["response"] == shown


def test_a_retry_of_gaps_copies_the_places(bench: ApiBench) -> None:
    bench.api.provider.refuses = "𝒜da"  # type: ignore[attr-defined]
    task = done(bench, reduce="concat", join={"/title": "first"}, onChunkFailure="gap")
    assert len(task["gaps"]) == 1
    found = checked(task["result"]["value"], task["result"]["quotes"])
    assert [one for one in found if len(one) > 5] == [SENTENCES[0], SENTENCES[3], SENTENCES[0]]
    bench.api.provider.refuses = ""  # type: ignore[attr-defined]
    retried = data(bench.call("POST", f"/api/tasks/{task['id']}/retry"))
    task = bench.finish(retried["id"])
    found = checked(task["result"]["value"], task["result"]["quotes"])
    assert [one for one in found if len(one) > 5] == [*SENTENCES, SENTENCES[0]]
    assert task["usage"]["quotesNotFound"] == 1  # of the one call that this task has made


def test_a_text_in_a_file_has_places_too(bench: ApiBench) -> None:
    file_id = upload(bench, "\ufeff" + TEXT, purpose="user_data")
    asked = {"inputFile": file_id, "outputSchema": SCHEMA, "reduce": "none"}
    reply = bench.call("POST", "/api/tasks", asked)
    task = bench.finish(data(reply)["id"])
    assert task["result"] == done(bench)["result"]


def test_a_key_without_read_sees_no_quotes() -> None:
    bench = ApiBench(settings=Settings(provider="demo", chunk_chars=40), provider=Quoting(), keys=True)
    headers = bearer(bench.make_key(Scope.WRITE))
    reply = bench.call("POST", "/api/tasks", body(), headers)
    run_key = bearer(bench.make_key())
    name = data(reply)["id"]
    bench.work_on(name)
    assert data(bench.call("GET", f"/api/tasks/{name}", headers=run_key))["result"]["quotes"]
    assert data(bench.call("POST", f"/api/tasks/{name}/cancel", headers=headers)).get("result") is None


def test_the_release_before_cannot_claim_a_task_with_quotes(bench: ApiBench) -> None:
    name = data(bench.call("POST", "/api/tasks", body()))["id"]
    claim = "UPDATE tasks SET status = 'processing', fence = fence + 1 WHERE id = ?"
    with pytest.raises(sqlite3.IntegrityError):
        bench.database.rows(claim, f"local:{name}")
    assert bench.finish(name)["status"] == "completed"


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ({"type": "string", "x-onceover": "quote"}, "/x-onceover"),
        ({"type": ["string", "null", "integer"], "x-onceover": "quote"}, "/x-onceover"),
        ({"x-onceover": "quote"}, "/x-onceover"),
        ({**QUOTE, "x-onceover": "cite"}, "/x-onceover"),
        ({**QUOTE, "x-onceover": True}, "/x-onceover"),
        ({**QUOTE, "enum": ["a", None]}, "/enum"),
        ({**QUOTE, "const": None}, "/const"),
        ({**QUOTE, "format": "date"}, "/format"),
        ({**QUOTE, "minLength": 1}, "/minLength"),
        ({**QUOTE, "maxLength": 1}, "/maxLength"),
        ({**QUOTE, "anyOf": [{}]}, "/anyOf"),
    ],
)
def test_other_uses_of_the_keyword_are_refused(bench: ApiBench, field: dict[str, Any], pointer: str) -> None:
    reply = bench.call("POST", "/api/tasks", body(outputSchema=object_of(a=field), strict=False))
    assert (reply.status, data(reply)["code"]) == (422, "unsupported_schema")
    assert data(reply)["errors"][0]["pointer"] == f"/properties/a{pointer}"


def test_a_task_without_quotes_shows_none(bench: ApiBench) -> None:
    """A property that is called `x-onceover` is no quote, and a task without quotes has none of the fields."""
    schema = {"type": "object", "properties": {"x-onceover": {"type": "array", "items": {"type": "string"}}}}
    bench.api.provider.answer = lambda call: {"x-onceover": ["quote"]}  # type: ignore[attr-defined]
    reply = bench.call("POST", "/api/tasks", body(outputSchema=schema, strict=False))
    task = bench.finish(data(reply)["id"])
    assert task["status"] == "completed"
    assert "quotes" not in task["result"]
    assert "quotesNotFound" not in task["usage"]


@pytest.mark.parametrize("keyword", ["enum", "const", "default", "examples"])
def test_a_value_in_a_schema_is_no_quote(bench: ApiBench, keyword: str) -> None:
    value: Any = {"x-onceover": "quote"}
    field = {"type": "object", keyword: [value] if keyword in {"enum", "examples"} else value}
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"anyOf": [field]}}}
    task = data(bench.call("POST", "/api/tasks", body(outputSchema=schema, strict=False)))
    assert "quotesNotFound" not in task["usage"]
    schema["properties"]["b"] = {"anyOf": [{"$ref": "#/definitions/c"}]}
    schema |= {"definitions": {"c": {"type": "array", "items": QUOTE}}}
    task = data(bench.call("POST", "/api/tasks", body(outputSchema=schema, strict=False)))
    assert task["usage"]["quotesNotFound"] == 0
