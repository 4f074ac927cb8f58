"""Counts of tokens as servers report them, and calls and their outcomes as they cross RPC to a lane and back."""

import asyncio
import json
import pickle
from typing import Any

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply, OutputForm
from src.kernel.calls.workers_ai import WorkersAIProvider
from src.kernel.domain.errors import ModelRefused, ModelReplyMalformed, ModelUnavailable
from src.kernel.domain.structure import Rejection
from tests.support.scripted_model import NoGateway
from tests.unit.kernel.calls.test_openai import CALL, completion, failure, infer, reply

CALLS = [
    ModelCall("s", "u", "m"),
    ModelCall("s", "u", "m", max_output_tokens=9, temperature=0.0, options={"stop": ["ü"], "top_p": 0.5}),
    ModelCall("s", "u", "m", form=OutputForm({"type": "object", "title": "ü"}, "output", True, "both")),
    ModelCall("s", "u", "m", form=OutputForm({}, "n", False, "prompt", Rejection("[1]", (("/a", "string"),)))),
    ModelCall("", "", "m", 9, body={"messages": [{"role": "user", "content": "ü😀"}], "stop": None, "seed": 7}),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_arrives_as_it_was_sent(call: ModelCall) -> None:
    sent = json.loads(json.dumps(wire.write_call(call)))
    assert wire.read_call(sent) == call
    assert all(value is None or isinstance(value, str | int | float) for value in sent.values())
    assert ("form" in sent, "body" in sent) == (call.form is not None, call.body is not None)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_can_be_pickled(call: ModelCall) -> None:
    """The search through every state keeps its calls in a file."""
    assert pickle.loads(pickle.dumps(call)) == call  # noqa: S301 - our own bytes


def test_a_line_has_nothing_that_earlier_code_could_send() -> None:
    """Code that knows no lines reads the texts of a call, and without them makes no paid call of empty texts."""
    sent = wire.write_call(CALLS[-1])
    assert not sent.keys() & {"system", "user"}


def test_a_whole_answer_arrives_as_it_was() -> None:
    reply = ModelReply("", 7, 3, "stop", answer={"choices": [{"message": {"content": "ü😀"}}], "usage": None, "x": 0.5})
    sent = json.loads(json.dumps(wire.write_outcome(reply)))
    assert wire.read_outcome(wire.from_lane(sent, 4)) == reply._replace(lane=4)
    assert all(value is None or isinstance(value, str | int | float) for value in sent.values())
    assert "answer" not in wire.write_outcome(ModelReply("fine", 7, 3))


def test_a_refusal_arrives_with_the_providers_answer() -> None:
    error = ModelRefused("no", of_call=True, answer=(413, {"error": {"message": "ü", "code": None}}))
    sent = json.loads(json.dumps(wire.write_outcome(error)))
    found = wire.read_outcome(sent)
    assert isinstance(found, ModelRefused)
    assert (str(found), found.of_call, found.answer) == ("no", True, error.answer)
    assert all(value is None or isinstance(value, str | int | float) for value in sent.values())
    other = wire.write_outcome(ModelRefused("no"))
    assert "answer" not in other
    assert getattr(wire.read_outcome(other), "answer", ...) is None


def test_an_output_says_which_lane_it_comes_from() -> None:
    fine, failed = wire.write_outcome(ModelReply("fine", 7, 3)), wire.write_outcome(ModelRefused("no"))
    assert wire.read_outcome(json.loads(json.dumps(wire.from_lane(fine, 4)))) == ModelReply("fine", 7, 3, lane=4)
    assert type(wire.read_outcome(wire.from_lane(failed, 4))) is ModelRefused


def test_a_refusal_says_whether_it_is_of_the_call() -> None:
    for of_call in (True, False):
        sent = json.loads(json.dumps(wire.write_outcome(ModelRefused("no", of_call=of_call))))
        error = wire.read_outcome(sent)
        assert isinstance(error, ModelRefused)
        assert (error.of_call, sent["error"]) == (of_call, "model_refused")


@pytest.mark.parametrize("reason", [None, "length"])
def test_an_output_arrives_as_it_was(reason: str | None) -> None:
    reply = ModelReply("fine", 7, 3, reason)
    assert wire.read_outcome(json.loads(json.dumps(wire.write_outcome(reply)))) == reply


LINE = ModelCall("", "", "m", body={"messages": [{"role": "user", "content": "x"}]})
OPENAI = {
    "usage": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0},
    }
}
VLLM = {"usage": {"prompt_tokens": 31, "total_tokens": 40, "completion_tokens": 9, "prompt_tokens_details": None}}
VLLM_CACHED = {"usage": VLLM["usage"] | {"prompt_tokens_details": {"cached_tokens": 16}}}
LLAMA_CPP: dict[str, Any] = {
    "usage": {"completion_tokens": 48, "prompt_tokens": 44, "total_tokens": 92},
    "timings": {"cache_n": 43, "prompt_n": 1, "prompt_ms": 30.9, "predicted_n": 48},
}
LLAMA_CPP_NEW = {
    "usage": LLAMA_CPP["usage"] | {"prompt_tokens_details": {"cached_tokens": 40}},
    "timings": {"cache_n": 9},
}
HOSTILE = {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "9"}}}
SHAPES = [
    *((OPENAI, (2006, 300, 1920)), (VLLM, (31, 9, 0)), (VLLM_CACHED, (31, 9, 16))),
    *((LLAMA_CPP, (44, 48, 43)), (LLAMA_CPP_NEW, (44, 48, 40)), (HOSTILE, (5, 1, 0))),
]
SAID = completion("fine")
SILENT = {"choices": [{"message": {"role": "assistant", "content": None}}]}


def counts(made: ModelReply) -> tuple[int, int, int]:
    return made.input_tokens, made.output_tokens, made.cached_tokens


def workers_ai(result: object, call: ModelCall = CALL) -> ModelReply:
    class Ai(NoGateway):
        async def run(self, model: str, inputs: dict[str, object]) -> object:
            return result

    return asyncio.run(WorkersAIProvider(Ai(), model=None, timeout_seconds=5).infer(call))


@pytest.mark.parametrize(("document", "found"), SHAPES)
@pytest.mark.parametrize("call", [CALL, LINE])
def test_counts_are_the_servers_own(document: dict[str, Any], found: tuple[int, int, int], call: ModelCall) -> None:
    """Cached tokens are read as each server reports them. Reasoning tokens are a part of the output."""
    assert counts(infer(reply(200, SAID | document), call)) == found
    assert counts(workers_ai(SAID | document, call)) == found
    if call is CALL:
        assert counts(workers_ai({"response": "fine"} | document)) == found


@pytest.mark.parametrize(("document", "found"), SHAPES)
def test_an_unusable_answer_reports_its_counts(document: dict[str, Any], found: tuple[int, int, int]) -> None:
    """A 2xx answer without an output was paid for, so its error carries the counts, across a lane too."""
    error = failure(reply(200, SILENT | document))
    assert error.tokens == found
    assert wire.read_outcome(json.loads(json.dumps(wire.write_outcome(error)))).tokens == found  # type: ignore[union-attr]
    with pytest.raises(ModelReplyMalformed) as caught:
        workers_ai(SILENT | document)
    assert caught.value.tokens == found


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", SILENT])
def test_an_answer_without_counts_says_so(body: object) -> None:
    assert failure(reply(200, body)).tokens == (0, 0, 0)
    assert failure(reply(500, SILENT | OPENAI)).tokens is None
    assert wire.read_outcome(wire.write_outcome(ModelUnavailable())).tokens is None  # type: ignore[union-attr]


def test_cached_tokens_cross_a_lane() -> None:
    """A lane tells its task's worker the cached input. An older lane says nothing of it."""
    made = ModelReply("x", 7, 3, cached_tokens=5)
    assert wire.read_outcome(wire.write_outcome(made)) == made
    assert "cachedTokens" not in wire.write_outcome(made._replace(cached_tokens=0))
