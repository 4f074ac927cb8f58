"""Simulates a model that misbehaves, and that records every call that reaches it."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from simulator.engine import answers, chat
from simulator.engine.fault_kinds import BROWN_OUT, MODEL_AWAY, POISONED
from simulator.platform.binding_port import Network, Port, Reply
from src.kernel.calls.protocol import Health, ModelCall, ModelReply
from src.kernel.domain.errors import (
    ModelConnectionLost,
    ModelError,
    ModelMisconfigured,
    ModelRateLimited,
    ModelRefused,
    ModelReplyMalformed,
    ModelTimeout,
    ModelUnavailable,
)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that reached the model: when (virtual seconds), from which isolate, the call, and how it was answered."""

    at_seconds: float
    sender: str
    call: ModelCall
    answer: str


AWAY_SECONDS = (1.0, 30.0, 300.0, 1_800.0)
# The least seconds from the end of one absence to the next, so that every waiting task calls the model in between.
AWAY_REST_SECONDS = 600.0
# How calls fail while the model is away: with an error status, with a refused connection, or without an answer.
type Absence = Literal["5xx", "unreachable", "hang"]
BROWN_OUT_SECONDS = (10.0, 60.0, 600.0)
BROWN_OUT_SHARES = (0.1, 0.3, 0.5, 0.8)
ABSENCES: tuple[Absence, ...] = ("5xx", "5xx", "unreachable", "hang")


def output_of(call: ModelCall) -> str:
    """Return the model's output for a call, which depends only on the call."""
    digest = blake2b(f"{call.model}\0{call.system}\0{call.user}".encode("utf-8", "replace"), digest_size=6)
    return f"seen {digest.hexdigest()}"


class ModelServer:
    """The model, shared by all isolates.

    `refuses` selects the calls that the model rejects for good, and `cuts_off` the calls whose output it cuts off.
    `slow` returns how many seconds longer a model call takes.
    """

    def __init__(self, network: Network, *, seconds: tuple[float, float] = (0.1, 2.0)) -> None:
        self.network = network
        self.faults = network.faults
        self.seconds = seconds
        self.timeout_seconds = 120.0
        self.refuses: Callable[[ModelCall], bool] = lambda _call: False
        self.cuts_off: Callable[[ModelCall], bool] = lambda _call: False
        self.slow: Callable[[ModelCall], float] = lambda _call: 0.0
        self.records: list[CallRecord] = []
        self.calls_by_text: Counter[str] = Counter()
        self.number_outputs = False
        self.answered: answers.WrittenJson | None = None  # The latest answer to a call that wants JSON.
        self._values: set[str | None] = set()
        self._worth: dict[str, str | None] = {}  # By the text of an answer: the value in it.
        # Called when a model call leaves an isolate.
        self.starting: Callable[[ModelCall, str], None] = lambda _call, _sender: None
        # Called when a model's output arrives in an isolate.
        self.received: Callable[[ModelCall, ModelReply], None] = lambda _call, _reply: None
        # Called when a model call has failed in an isolate.
        self.failed: Callable[[ModelCall, ModelError], None] = lambda _call, _error: None
        self.away_since = self.away_until = -AWAY_REST_SECONDS
        self._absence: Absence = "5xx"
        self.brown_until = -math.inf
        self.brown_share = 0.0
        self.is_poison: Callable[[ModelCall], bool] = lambda _call: False  # Selects model calls that always get a 500.
        self._poisoned: dict[str, bool] = {}  # By text: whether the fault `model_poisoned` struck it.

    def brown_out(self, seconds: float, share: float) -> None:
        """For this many seconds from now, let this share of all callers' model calls fail."""
        self.brown_until, self.brown_share = self.network.loop.now() + seconds, share

    def go_away(self, seconds: float, absence: Absence) -> None:
        """For this many seconds from now, let the model be away for all callers."""
        self.away_since = self.network.loop.now()
        self.away_until, self._absence = self.away_since + seconds, absence

    def _is_away(self, sender: str) -> bool:
        faults, now = self.faults, self.network.loop.now()
        if now < self.away_until:
            return True
        if now < self.away_until + AWAY_REST_SECONDS or not faults.fires(MODEL_AWAY, sender):
            return False
        self.go_away(
            AWAY_SECONDS[int(faults.between(0, len(AWAY_SECONDS)))], ABSENCES[int(faults.between(0, len(ABSENCES)))]
        )
        return True

    def count(self, text: str) -> int:
        """Return how many calls with exactly the given `user` text reached the model."""
        return self.calls_by_text[text]

    def worth(self, output: str) -> str | None:
        """Return the acceptable part of an output: the whole text, or for a call that wanted JSON its value."""
        return self._worth.get(output, output)

    def has_meant(self, value: str) -> bool:
        """Whether any answer to a call that wanted JSON contained this value."""
        return value in self._values

    def serve(self, call: ModelCall, sender: str, reply: Reply) -> None:
        """Receive one call, and answer it after some seconds."""
        faults = self.faults
        away = self._is_away(sender)
        if (away and self._absence == "unreachable") or (not away and faults.fires("model_unreachable", sender)):
            reply(None, ModelConnectionLost("connection refused"))
            return
        answer, error, seconds = self._away() if away else self._troubled(call, sender) or self._decide(call, sender)
        self.calls_by_text[call.user] += 1
        answer, value = (answer, None) if error else self._reply(call, sender)
        self.records.append(CallRecord(self.network.loop.now(), sender, call, answer))
        faults.record("model", answer, call.user[:40])
        loop = self.network.loop
        loop.call_event(seconds, reply, value, error, context=loop.outside)

    def _away(self) -> tuple[str, ModelError | None, float]:
        if self._absence == "hang":
            return "hang", ModelTimeout("hang"), self.timeout_seconds
        return "5xx", ModelUnavailable("503"), self.faults.between(*self.seconds)

    def _troubled(self, call: ModelCall, sender: str) -> tuple[str, ModelError | None, float] | None:
        """Return the failure of a call in a brown-out, or of a call for a text that always fails.

        Returns None if the model call has neither failure.
        """
        faults, now = self.faults, self.network.loop.now()
        if self.is_poison(call) or self._is_struck(call, sender):
            return "5xx", ModelUnavailable("500"), faults.between(*self.seconds)
        if now >= self.brown_until and faults.fires(BROWN_OUT, sender):
            seconds = BROWN_OUT_SECONDS[int(faults.between(0, len(BROWN_OUT_SECONDS)))]
            self.brown_out(seconds, BROWN_OUT_SHARES[int(faults.between(0, len(BROWN_OUT_SHARES)))])
        if now < self.brown_until and faults.between(0, 1) < self.brown_share:
            return "5xx", ModelUnavailable("503"), faults.between(*self.seconds)
        return None

    def _is_struck(self, call: ModelCall, sender: str) -> bool:
        """Whether the fault `model_poisoned` has struck the call's text.

        The fault strikes a text at its first call or never, and stops when all faults stop.
        """
        if not self.faults.active or not self.faults.tallies[POISONED].rate:
            return False
        if call.user not in self._poisoned:
            self._poisoned[call.user] = self.faults.fires(POISONED, sender)
        elif self._poisoned[call.user]:
            self.faults.strike(POISONED, sender)
        return self._poisoned[call.user]

    def _decide(self, call: ModelCall, sender: str) -> tuple[str, ModelError | None, float]:
        faults, fires, timeout = self.faults, self.faults.fires, self.timeout_seconds
        quick = faults.between(*self.seconds) + self.slow(call)
        if self.refuses(call):
            return "refused", ModelMisconfigured("401"), quick
        if fires("call_refused", sender):
            return "refused", ModelRefused("400", of_call=True), quick
        if fires("model_rate_limited", sender):
            delay = None if faults.between(0, 1) < 0.3 else max(0.0, float(round(faults.between(-10, 90))))
            return "429", ModelRateLimited("429", delay), quick
        for kind, answer, error, seconds in (
            ("model_hang", "hang", ModelTimeout, timeout),
            ("model_unavailable", "5xx", ModelUnavailable, quick),
            ("model_reply_lost", "reply lost", ModelConnectionLost, quick),
            ("model_malformed", "malformed", ModelReplyMalformed, quick),
        ):
            if fires(kind, sender):
                return answer, error(answer), seconds
        return "ok", None, faults.between(quick, max(quick, timeout * 0.95)) if fires("model_slow", sender) else quick

    def _reply(self, call: ModelCall, sender: str) -> tuple[str, ModelReply]:
        """Write an output. Also returns the word for the kind of the output in the model's record of the call."""
        output, kind = output_of(call), "ok"
        if self.number_outputs:
            output += f" #{self.calls_by_text[call.user]}"
        reason = "length" if self.cuts_off(call) else None
        self.answered = None
        if call.form is not None:
            cut = reason is not None
            schema, user = call.form.schema, call.user
            said = self.answered = answers.answer(schema, output, self.faults, sender, is_cut=cut, user=user)
            self._worth[said.text] = said.worth
            self._values |= {said.worth} - {None}
            output, kind, reason = said.text, said.kind, said.finish_reason
        return kind, ModelReply(output, 1 + len(call.user) // 4, len(output) // 4, finish_reason=reason)


class ModelProvider:
    """The model's `inference.protocol.Provider` in one isolate."""

    name = "simulated"
    default_model = "simulated-1"

    def __init__(self, server: ModelServer, port: Port) -> None:
        self._server = server
        self._port = port

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send a call to the model once. Raises a `ModelError` if the model call fails."""
        sent, call = call, chat.heard(call)
        sender = self._port.isolate.name
        if not self._port.is_closed():
            self._server.starting(call, sender)
        try:
            reply = await self._port.call("model.infer", lambda answer: self._server.serve(call, sender, answer))
        except ModelError as error:
            self._server.failed(call, error)
            raise chat.answer_of(sent, error) from None
        assert isinstance(reply, ModelReply)
        self._server.received(call, reply)
        return chat.whole(sent, reply)

    async def probe(self) -> Health:
        """Always report that the model is healthy."""
        await asyncio.sleep(0)
        return Health("healthy", "simulated")
