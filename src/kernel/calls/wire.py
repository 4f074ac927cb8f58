"""Writes model calls and their outcomes as plain values, for RPC between Durable Objects, and reads these values."""

import json
from typing import Any

from ..domain import errors
from ..domain.errors import ModelConnectionLost, ModelError
from ..domain.ids import TaskKey
from ..domain.structure import Rejection
from .protocol import ModelCall, ModelReply, OutputForm

Wire = dict[str, str | int | float | None]

# written for an aborted call, whose error has a lost connection's code: the run must tell the two apart
_ABORTED = "aborted"
# written for a call that a lane no longer knows, for the same reason
_FORGOTTEN = "forgotten"
# written if a day's allowance is used up, whose error has the same code as a quota that is used up for good
_DAY_USED_UP = "day_used_up"

_ERRORS: dict[str, type[ModelError]] = {
    kind.code: kind
    for kind in (
        errors.ModelUnavailable,
        errors.ModelRateLimited,
        errors.ModelTimeout,
        errors.ModelConnectionLost,
        errors.ModelReplyMalformed,
        errors.CallNotStarted,
        errors.ModelRefused,
        errors.ModelMisconfigured,
        errors.ModelQuotaExhausted,
        errors.StructuredOutputUnsupported,
    )
}
_ERRORS[_ABORTED] = errors.CallAborted
_ERRORS[_FORGOTTEN] = errors.CallerLost
_ERRORS[_DAY_USED_UP] = errors.ModelDayUsedUp


def write_call(call: ModelCall) -> Wire:
    """Write a model call. A call with a body is written without texts.

    Code of a release that knows no bodies then fails to read it, and would otherwise make a paid call of empty texts.
    """
    written: Wire = {
        **({"system": call.system, "user": call.user} if call.body is None else {}),
        "model": call.model,
        "maxOutputTokens": call.max_output_tokens,
        "temperature": call.temperature,
        "options": json.dumps(dict(call.options)),
    }
    if call.form is not None:
        *form, rejected = call.form
        written["form"] = json.dumps([*form, None if rejected is None else (rejected.answer, rejected.faults)])
    if call.body is not None:
        written["body"] = json.dumps(call.body, ensure_ascii=False)
    return written


def read_call(wire: Wire, task_key: TaskKey | None = None) -> ModelCall:
    """Read a model call of a task."""
    tokens, temperature, has_texts = wire["maxOutputTokens"], wire["temperature"], "body" not in wire
    return ModelCall(
        system=str(wire["system"]) if has_texts else "",
        user=str(wire["user"]) if has_texts else "",
        model=str(wire["model"]),
        max_output_tokens=None if tokens is None else _whole(tokens),
        temperature=None if temperature is None else float(temperature),
        options=json.loads(str(wire["options"])),
        form=_form(*json.loads(str(wire["form"]))) if "form" in wire else None,
        body=json.loads(str(wire["body"])) if "body" in wire else None,
        task_key=task_key,
    )


def _form(schema: Any, name: Any, strict: Any, sending: Any, rejected: Any) -> OutputForm:
    """Read the form of a call's output from the list as which it was written."""
    if rejected is not None:
        answer, faults = rejected
        rejected = Rejection(answer, tuple((pointer, expected) for pointer, expected in faults))
    return OutputForm(schema, name, strict, sending, rejected)


def write_outcome(outcome: ModelReply | ModelError) -> Wire:
    """Write the outcome of a model call as plain values."""
    if isinstance(outcome, ModelReply):
        made: Wire = {
            "output": outcome.output,
            "inputTokens": outcome.input_tokens,
            "outputTokens": outcome.output_tokens,
            "finishReason": outcome.finish_reason,
        }
        if outcome.cached_tokens:
            made["cachedTokens"] = outcome.cached_tokens
        if outcome.from_cache:
            made["fromCache"] = 1
        return made if outcome.answer is None else {**made, "answer": json.dumps(outcome.answer, ensure_ascii=False)}
    # `str`, because RPC clones plain values only, and a member of an enumeration is not a plain text.
    code = str(outcome.code)
    if isinstance(outcome, errors.CallerLost):
        code = _ABORTED if isinstance(outcome, errors.CallAborted) else _FORGOTTEN
    elif isinstance(outcome, errors.ModelDayUsedUp):
        code = _DAY_USED_UP
    written: Wire = {"error": code, "message": str(outcome), "delaySeconds": outcome.delay_seconds}
    if outcome.tokens is not None:
        written["tokens"] = json.dumps(outcome.tokens)
    if isinstance(outcome, errors.ModelRefused):
        if outcome.of_call:
            written["ofCall"] = 1
        if outcome.answer is not None:
            written["answer"] = json.dumps(outcome.answer, ensure_ascii=False)
    return written


def numbered(call: Wire, number: int, *, in_parts: bool) -> Wire:
    """Add a call's number, and whether its lane may answer in parts, which older lanes ignore."""
    return {**call, "number": number, "inParts": int(in_parts)}


def write_held(lane: int, number: int, *, in_parts: bool) -> Wire:
    """Write a call that a lane already makes, and for which the sender still waits."""
    return {"held": lane, "number": number, "inParts": int(in_parts)}


def is_held(call: Wire) -> bool:
    """Whether the lane already makes the call."""
    return "held" in call


def number_of(call: Wire) -> int | None:
    """Return a call's number in its claim. Calls of an older release have none."""
    return None if "number" not in call else _whole(call["number"])


def goes_in_parts(call: Wire) -> bool:
    """Whether the lane may answer for other calls of the group before this call has ended."""
    return call.get("inParts") == 1


def lane_of(calls: list[Wire]) -> int | None:
    """Return the number of the lane that already makes some of the calls, None if all calls are new."""
    return next((_whole(call["held"]) for call in calls if "held" in call), None)


# The outcome of a call that goes on after a lane has answered for other calls of its group.
GOES_ON: Wire = {"goesOn": 1}


def goes_on(outcome: Wire) -> int | None:
    """Return the number of the lane if the outcome says that the call goes on there, None otherwise."""
    return _whole(outcome["lane"]) if "goesOn" in outcome else None


def from_lane(outcome: Wire, lane: int) -> Wire:
    """Add the lane's number to the outcome that was written."""
    return {**outcome, "lane": lane}


def read_outcome(wire: Wire) -> ModelReply | ModelError:
    """Read the outcome of a call. A code that only newer code knows counts as a lost connection."""
    code = wire.get("error")
    if code is None:
        reason, lane = wire["finishReason"], wire.get("lane")
        return ModelReply(
            str(wire["output"]),
            _whole(wire["inputTokens"]),
            _whole(wire["outputTokens"]),
            None if reason is None else str(reason),
            None if lane is None else _whole(lane),
            json.loads(str(wire["answer"])) if "answer" in wire else None,
            cached_tokens=_whole(wire.get("cachedTokens", 0)),
            from_cache="fromCache" in wire,
        )
    delay = wire.get("delaySeconds")
    error = _ERRORS.get(str(code), ModelConnectionLost)(str(wire["message"]), None if delay is None else float(delay))
    if "tokens" in wire:
        read, made, cached = json.loads(str(wire["tokens"]))
        error.tokens = int(read), int(made), int(cached)
    if isinstance(error, errors.ModelRefused):
        error.of_call = bool(wire.get("ofCall"))
        if "answer" in wire:
            status, body = json.loads(str(wire["answer"]))
            error.answer = int(status), body
    return error


def _whole(value: str | float | None) -> int:
    assert isinstance(value, int | float)
    return int(value)
