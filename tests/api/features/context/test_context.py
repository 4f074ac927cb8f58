"""Context and headings: what goes along with a chunk in its message, in both APIs, and what does not change."""

import re
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.settings import Settings
from tests.api.features.openai.test_responses import strict, task_id
from tests.support.api_bench import ApiBench, data
from tests.support.batches import upload
from tests.support.memory_r2 import MemoryR2
from tests.support.scripted_model import ScriptedModel

TEXT = "# Law\n\nOne 𝒜 begins here.\n\n## Terms\n\nTwo pays [[onceover-1 text]] coins.\n\nThree ends it 👍🏽 all.\n"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def bench(model: ScriptedModel) -> ApiBench:
    made = ApiBench(settings=Settings(provider="demo", chunk_chars=40), provider=model)
    made.blobs = MemoryR2(made.now_ms)
    return made


def done(bench: ApiBench, text: str = TEXT, **fields: Any) -> Any:
    return bench.finish(bench.submit(text, reduce="none", **fields)["id"])


def parts(message: str, number: int) -> dict[str, str]:
    """Return what stands behind each mark of a message; a message without marks is a text."""
    found = re.split(rf"^\[\[onceover-{number} (\w+)\]\]\n?", message, flags=re.MULTILINE)
    if len(found) == 1:
        return {"text": message}
    assert found[-2:] == ["end", ""]
    return {
        name: text.removesuffix("\n") if name != "text" else text[:-1]
        for name, text in zip(found[1:-2:2], found[2::2], strict=False)
    }


def test_context_and_headings_go_along(bench: ApiBench, model: ScriptedModel) -> None:
    """Each chunk's message is headings, context and chunk; together the chunks are the text, and nothing else is."""
    plain = done(bench)
    texts = [call.user for call in model.calls]
    assert "".join(texts) == TEXT  # without the fields it is the chunk alone
    model.calls.clear()
    task = done(bench, contextChars=9)
    found = [parts(call.user, 2) for call in model.calls]
    assert [one["text"] for one in found] == texts
    assert [one.get("headings") for one in found] == [None, "Law", "Law > Terms", "Law > Terms"]
    at = [len("".join(texts[:index])) for index in range(len(texts))]
    assert [one.get("context", "") for one in found] == [TEXT[max(0, start - 9) : start] for start in at]
    assert model.calls[0].user == texts[0]
    assert "it is no part of the text" in model.calls[1].user
    assert "[[onceover-2 headings]]" in model.calls[1].user.split("\n")[0]
    assert task["usage"]["minimumCalls"] == task["usage"]["modelCalls"] == plain["usage"]["minimumCalls"]
    assert (task["request"]["contextChars"], task["request"]["headings"]) == (9, True)
    assert not {"contextChars", "headings"} & plain["request"].keys()
    chunks = [data(bench.call("GET", f"/api/tasks/{one['id']}/chunks"))["chunks"] for one in (plain, task)]
    assert [(one["start"], one["end"]) for one in chunks[0]] == [(one["start"], one["end"]) for one in chunks[1]]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"contextChars": 5, "headings": False}, {"context", "text"}),
        ({"headings": True}, {"headings", "text"}),
        ({"headings": True, "chunk": {"maxChars": 40, "overlapChars": 8}}, {"headings", "text"}),
        ({"contextChars": 0}, {"text"}),
        ({"headings": False}, {"text"}),
    ],
)
def test_each_part_goes_along_if_it_is_asked_for(
    bench: ApiBench, model: ScriptedModel, fields: Any, names: set[str]
) -> None:
    done(bench, **fields)
    assert parts(model.calls[-1].user, 2).keys() == names


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"contextChars": 5, "chunk": {"maxChars": 40, "overlapChars": 1}}, "contextChars"),
        ({"contextChars": 4_001}, "contextChars"),
        ({"contextChars": -1}, "contextChars"),
        ({"headings": "yes"}, "headings"),
    ],
)
def test_other_values_are_refused_by_name(bench: ApiBench, fields: Any, field: str) -> None:
    reply = bench.call("POST", "/api/tasks", {"input": TEXT, **fields})
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, field)
    reply = bench.call("POST", "/v1/responses", {"background": True, "input": TEXT, "onceover": fields})
    assert (reply.status, data(reply)["error"]["param"]) == (400, f"onceover.{field}")


def test_a_text_in_a_file_gets_the_same_messages(
    bench: ApiBench, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the file is cut in portions by several runs, and the marks are divided between portions."""
    text = TEXT * 3 + "[[onceover-2 x " * 8 + TEXT
    done(bench, text, contextChars=7)
    expected = sorted(call.user for call in model.calls)
    model.calls.clear()
    monkeypatch.setattr(limits, "TEXT_PORTION_BYTES", 20)
    monkeypatch.setattr(limits, "TEXT_PORTIONS_A_RUN", {"free": 3, "paid": 3})
    file_id = upload(bench, "\ufeff" + text, purpose="user_data")
    reply = bench.call("POST", "/api/tasks", {"inputFile": file_id, "reduce": "none", "contextChars": 7})
    assert bench.finish(data(reply)["id"])["status"] == "completed"
    assert sorted(call.user for call in model.calls) == expected
    assert "[[onceover-3 text]]" in expected[-1]
    # A later run writes the same marks, though D1 takes each number for a double.
    (stored,) = bench.database.rows("SELECT json_extract(long_text, '$.mark') AS mark FROM tasks WHERE kind = 'file'")
    assert str(stored["mark"]) == "3"


def test_headings_that_are_too_long_are_refused(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INPUT_BYTES_MOST", len(TEXT.encode()) + 10)
    reply = bench.call("POST", "/api/tasks", {"input": TEXT, "headings": True})
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, "headings")
    reply = bench.call("POST", "/v1/responses", {"background": True, "input": TEXT, "onceover": {"headings": True}})
    assert data(reply)["error"]["param"] == "onceover.headings"
    file_id = upload(bench, TEXT * 20, purpose="user_data")
    reply = bench.call("POST", "/api/tasks", {"inputFile": file_id, "headings": True})
    task = bench.finish(data(reply)["id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "invalid_input")
    assert "headings" in task["error"]["message"]


def test_a_retry_of_gaps_sends_the_same_messages(bench: ApiBench, model: ScriptedModel) -> None:
    model.says = {"Two": [ModelRefused("bad", of_call=True), "late"]}
    task = done(bench, contextChars=9, onChunkFailure="gap")
    assert len(task["gaps"]) == 1
    first = [call.user for call in model.calls if "Two pays" in call.user.rpartition("text]]\n")[2]]
    retried = data(bench.call("POST", f"/api/tasks/{task['id']}/retry"))
    assert retried["request"]["contextChars"] == 9
    bench.finish(retried["id"])
    assert model.calls[-1].user == first[-1]


def test_v1_takes_the_fields(bench: ApiBench, model: ScriptedModel) -> None:
    asked = {"background": True, "input": TEXT, "onceover": {"reduce": "concat", "contextChars": 9}}
    bench.finish(task_id(strict(bench.call("POST", "/v1/responses", asked))))
    assert [parts(call.user, 2).get("headings") for call in model.calls] == [None, "Law", "Law > Terms", "Law > Terms"]


def test_a_dry_run_shows_the_fields_and_counts_the_context(bench: ApiBench) -> None:
    plain, asked = (
        data(bench.call("POST", "/api/tasks?dryRun=true", {"input": TEXT * 9, **fields}))
        for fields in ({}, {"contextChars": 36})
    )
    assert asked["request"]["contextChars"] == 36
    assert asked["chunks"] == plain["chunks"]
    assert asked["minimumCalls"] == plain["minimumCalls"]
    assert asked["estimatedTokens"] >= plain["estimatedTokens"] + 8 * (len(plain["chunks"]) - 1)


def test_the_headings_are_erased_with_the_input(bench: ApiBench) -> None:
    task = done(bench, headings=True)
    (row,) = bench.database.rows("SELECT input, headings FROM texts")
    assert (row["input"], row["headings"]) == ("", None)
    assert task["status"] == "completed"
