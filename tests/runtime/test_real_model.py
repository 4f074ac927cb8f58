"""Tests the Worker with a real model on llama.cpp's own server, to find what no stand-in for a model can show."""

import importlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import model
from local.model_server import NAME, TIMEOUT_SECONDS
from tests.support.client import Client, openai
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.real_model import RealModel
from tests.support.tiers import sized

why_not = model.missing()
jsonschema: Any = importlib.import_module("jsonschema_rs")
pytestmark = [pytest.mark.runtime, pytest.mark.skipif(why_not is not None, reason=why_not or "")]

TEXT = "\n\n".join(
    (
        "The lighthouse stands on a rock. Its lamp was lit every evening by a keeper who lived there with his dog.",
        "In the winter of 1881 a storm took the bridge away. The keeper rowed to the village twice a week for bread.",
        "Today the lamp is electric and nobody lives on the rock. Visitors may climb the stairs on Sundays.",
    )
)
CONTEXT_TOKENS = 1024


@pytest.fixture(scope="module")
def real() -> Iterator[RealModel]:
    made = RealModel(CONTEXT_TOKENS)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(real: RealModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    state: Path = tmp_path_factory.mktemp("state")
    patience = {"AI_TIMEOUT_SECONDS": TIMEOUT_SECONDS, "LEASE_SECONDS": TIMEOUT_SECONDS + 60}
    flags = openai(real.base_url, AI_MODEL=NAME, AI_CONCURRENCY=model.SLOTS, **patience)
    with DevServer(state, *flags) as server, Client(server.url) as made:
        yield made


@pytest.fixture
def warm(real: RealModel, client: Client) -> Client:
    real.start()
    eventually(real.is_loaded, 60)
    return client


def test_a_task_waits_for_a_model_that_is_not_started_yet(real: RealModel, client: Client):
    real.stop()
    task_id = client.submit("A text of one sentence.", maxOutputTokens=8)["id"]
    eventually(lambda: (client.task(task_id)["waitingFor"] or {}).get("reason") == "model_away")
    real.start()
    task = client.finished(task_id, 120)
    assert task["status"] == "completed", task
    assert task["usage"]["outputTokens"] > 0


def test_each_chunk_has_an_output_of_the_model(warm: Client):
    task = warm.submit(
        TEXT,
        chunk={"maxChars": 120},
        instructions="Summarise the text in one short sentence.",
        temperature=0,
        maxOutputTokens=48,
        modelOptions={"seed": 7},
    )
    done = warm.finished(task["id"], 200)
    assert done["status"] == "completed", done
    assert done["progress"]["completed"] == done["progress"]["total"] == 3
    assert done["usage"]["modelCalls"] == done["usage"]["minimumCalls"] == 3
    chunks = warm.chunks(task["id"])
    assert all(chunk["output"].strip() for chunk in chunks)
    assert {chunk["finishReason"] for chunk in chunks} <= {"stop", "length"}
    assert 3 <= done["usage"]["outputTokens"] <= 3 * 48
    assert done["usage"]["inputTokens"] > 3 * 20
    # The output contains a word of the text, which shows that the model has read the text.
    assert any(word in done["result"]["output"].lower() for word in ("lighthouse", "keeper", "storm", "lamp", "rock"))


def test_an_output_that_the_model_had_to_cut_off_is_marked(warm: Client):
    task = warm.submit(TEXT, instructions="Repeat the text word by word.", temperature=0, maxOutputTokens=8)
    done = warm.finished(task["id"], 120)
    assert done["progress"]["truncated"] == 1
    assert [chunk["finishReason"] for chunk in warm.chunks(task["id"])] == ["length"]
    assert done["usage"]["outputTokens"] == 8


def test_the_model_is_held_to_a_schema(warm: Client):
    """Even this model, too small for instructions, writes what the schema allows."""
    short = {"type": "string", "maxLength": 20}
    schema = {
        "type": "object",
        "properties": {
            "subject": short,
            "mood": {"type": "string", "enum": ["calm", "wild"]},
            "year": {"type": "integer"},
        },
        "required": ["subject", "mood", "year"],
        "additionalProperties": False,
    }
    task = warm.submit(
        TEXT,
        outputSchema=schema,
        temperature=0,
        maxOutputTokens=128,
        join=dict.fromkeys(("/subject", "/mood", "/year"), "first"),
    )
    done = warm.finished(task["id"], 200)
    assert done["status"] == "completed", done
    value = done["result"]["value"]
    jsonschema.Draft202012Validator(schema).validate(value)
    assert json.loads(done["result"]["output"]) == value
    assert done["usage"]["rejected"] == done["usage"]["repaired"] == 0


def test_a_schema_that_the_model_s_server_refuses_fails_the_task(warm: Client):
    schema = {
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    done = warm.finished(warm.submit("A text.", outputSchema=schema, join={"/a": "first"})["id"], 60)
    assert (done["status"], done["error"]["code"]) == ("failed", "structured_output_unsupported"), done
    assert "STRUCTURED_OUTPUT" in done["error"]["message"]
    assert done["usage"]["modelCalls"] == 1


def test_a_chunk_that_does_not_fit_the_context_fails_the_task_at_once(warm: Client):
    task = warm.submit("word " * (CONTEXT_TOKENS + 100))  # one chunk
    done = warm.finished(task["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "model_refused")
    assert "context size" in done["error"]["message"]
    assert done["usage"]["modelCalls"] == 1


def patiently(client: Client, task_id: str, seconds: float) -> Any:
    """Return the task once it has ended. A poll that a busy machine breaks off is sent again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            task = client.task(task_id, wait=5)
        except httpx.TransportError as error:
            print(f"a poll was lost: {error!r}")
            time.sleep(1)
            continue
        if task["terminal"]:
            return task
    raise AssertionError(f"still {task['status']} after {seconds} s: {task}")


@pytest.mark.parametrize("name", ["english", "chinese"])
def test_each_quote_of_the_model_is_in_the_text(warm: Client, name: str):
    """What the model copies is at its place in the input, and what it invents is null and counted."""
    text = (ROOT / "examples" / f"{name}.txt").read_text("utf-8")[: sized(quick=500, test=500, campaign=None)]
    quotes = {"type": "array", "items": {"type": ["string", "null"], "x-onceover": "quote"}, "maxItems": 3}
    task = warm.submit(
        text,
        outputSchema={
            "type": "object",
            "properties": {"quotes": quotes},
            "required": ["quotes"],
            "additionalProperties": False,
        },
        instructions="Copy one short sentence of the text, word for word, into the list.",
        chunk={"maxChars": 500 if name == "english" else 100},
        reduce="none",
        contextChars=50,
        onChunkFailure="gap",
        maxGapShare=1,
        temperature=0,
        maxOutputTokens=100,
    )
    done = patiently(warm, task["id"], sized(quick=290, test=290, campaign=3_500))
    assert done["status"] == "completed", done
    said = {
        f"/{chunk}/quotes/{at}": quote
        for chunk, output in enumerate(done["result"]["value"])
        for at, quote in enumerate(output["quotes"] if output else [])
        if quote is not None
    }
    placed = {one["pointer"]: text[one["start"] : one["end"]] for one in done["result"]["quotes"]}
    print(f"{name}: {len(placed)} quotes, {done['usage']['quotesNotFound']} not found, {len(done['gaps'])} gaps")
    assert placed == said
    assert placed or done["usage"]["quotesNotFound"]
    assert placed or len(text) < 1_000  # of the whole text the model copies something
