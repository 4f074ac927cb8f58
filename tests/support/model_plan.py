"""The plan by which the tests' model server answers calls, and its records of calls."""

import argparse
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["ok", "status", "hang", "drop", "garbage", "empty", "cut", "stall"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the model server behaves at a call: after `delay_seconds`, with `text`, by default its own."""

    kind: Kind
    status_code: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    error_code: str | None = None
    delay_seconds: float | None = None
    text: str | None = None
    finish_reason: str = "stop"

    @property
    def label(self) -> str:
        """The behaviour's name in the ledger, for example `ok` or `status 429`."""
        return f"status {self.status_code}" if self.kind == "status" else self.kind


def ok(text: str | None = None) -> Behaviour:
    """Answer 200 with `text`, instead of the output that the server would derive from the input."""
    return Behaviour("ok", text=text)


def from_cache(text: str | None = None) -> Behaviour:
    """Answer as an AI Gateway does from its cache."""
    return Behaviour("ok", text=text, headers=(("cf-aig-cache-status", "HIT"),))


def ended(reason: str) -> Behaviour:
    return Behaviour("ok", finish_reason=reason)


def slow(seconds: float) -> Behaviour:
    return Behaviour("ok", delay_seconds=seconds)


def status(code: int, *, error_code: str | None = None, **headers: str) -> Behaviour:
    """Refuse with this status, an error like OpenAI's, and headers such as `retry_after`."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Behaviour("status", status_code=code, error_code=error_code, headers=named)


def rate_limit(retry_after: float | str | None = 2) -> Behaviour:
    """Answer 429, with a `Retry-After` header unless `retry_after` is None."""
    headers = {} if retry_after is None else {"retry_after": str(retry_after)}
    return status(429, error_code="rate_limit_exceeded", **headers)


def hang() -> Behaviour:
    """Give no answer until the client leaves or the server closes."""
    return Behaviour("hang")


def drop() -> Behaviour:
    """Count the call as a success, but close the connection without an answer."""
    return Behaviour("drop")


def cut() -> Behaviour:
    """Close the connection in the middle of the answer's body."""
    return Behaviour("cut")


def stall() -> Behaviour:
    return Behaviour("stall")


def garbage() -> Behaviour:
    """Answer 200 with a body that is not JSON."""
    return Behaviour("garbage")


def empty() -> Behaviour:
    """Answer 200 with JSON that has no choices."""
    return Behaviour("empty")


@dataclass(slots=True)
class Call:
    """A call as the server saw it, in wall-clock seconds.

    `assistant` is the earlier answer, if the model is asked again. `gateway` has the headers for an AI Gateway.
    """

    number: int
    arrived_at: float
    model: str
    system: str
    user: str
    roles: list[str]
    authorized: bool
    in_flight: int
    answered: str | None = None
    complete: bool = False
    ended_at: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    assistant: str = ""
    gateway: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """Decides how the server behaves at a call.

    The call's number decides first, then its text, then `decide`, then chance; otherwise the behaviour is `ok`.
    `by_text` maps a piece of the user message to the behaviours for the calls that contain the piece, in order. When
    all behaviours for a piece of text are used up, the rules after `by_text` apply. `chances` are (probability,
    behaviour) pairs; one number is drawn for each call.
    """

    by_number: Mapping[int, Behaviour] = field(default_factory=dict)
    by_text: Mapping[str, Sequence[Behaviour]] = field(default_factory=dict)
    decide: Callable[[Call], Behaviour | None] | None = None
    chances: Sequence[tuple[float, Behaviour]] = ()
    seed: int = 0
    _used: dict[str, int] = field(default_factory=dict)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def choose(self, call: Call) -> Behaviour:
        if call.number in self.by_number:
            return self.by_number[call.number]
        for piece, script in self.by_text.items():
            used = self._used.get(piece, 0)
            if piece in call.user and used < len(script):
                self._used[piece] = used + 1
                return script[used]
        decided = self.decide(call) if self.decide is not None else None
        return decided or self._drawn()

    def _drawn(self) -> Behaviour:
        if not self.chances:
            return ok()
        drawn = self._random.random()
        for chance, behaviour in self.chances:
            if drawn < chance:
                return behaviour
            drawn -= chance
        return ok()


def output_for(user: str, chars: int | None = None) -> str:
    """Return the output for a message, always the same, exactly `chars` long if given."""
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    line = f"analysis of {digest} ({len(user)} chars)"
    return line if chars is None else ((line + "\n") * (chars // (len(line) + 1) + 1))[:chars]


def tokens_for(text: str) -> int:
    return -(-len(text) // 4)


def completion(call: Call, output: str, finish_reason: str = "stop") -> dict[str, object]:
    call.input_tokens = tokens_for(call.system) + tokens_for(call.user)
    call.output_tokens = tokens_for(output)
    message = {"role": "assistant", "content": output}
    return {
        "id": f"call-{call.number}",
        "object": "chat.completion",
        "model": call.model,
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {
            "prompt_tokens": call.input_tokens,
            "completion_tokens": call.output_tokens,
            "total_tokens": call.input_tokens + call.output_tokens,
        },
    }


def read_ledger(path: Path) -> list[Call]:
    """Return a ledger's calls in order of arrival, without a last line that was cut off."""
    calls: dict[int, Call] = {}
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        call = Call(**json.loads(line))
        calls[call.number] = call
    return [calls[number] for number in sorted(calls)]


_FAULTS: dict[str, Callable[[], Behaviour]] = {
    "rate_limit": lambda: rate_limit(1),
    "error": lambda: status(500),
    "hang": hang,
    "drop": drop,
    "cut": cut,
    "stall": stall,
    "garbage": garbage,
    "empty": empty,
}


def chance_of(text: str) -> tuple[float, Behaviour]:
    name, _, chance = text.partition("=")
    if name not in _FAULTS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_FAULTS)}")
    return float(chance), _FAULTS[name]()
