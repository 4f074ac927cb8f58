"""Calls and their outcomes cross RPC to a lane and back as plain values."""

import json

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply, OutputForm
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.structure import Rejection

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
