"""Counts what the calls of one claim cost, in billionths of a dollar.

A call has the prices of the claim that announced it. Only that claim can settle the call, and a call in doubt counts
with the amount that was written with its announcement. So a change of prices changes no past bill.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ...kernel.calls.asking import sent_bytes
from ...kernel.calls.protocol import ModelCall, ModelReply
from ...kernel.domain import limits
from ...kernel.domain.errors import ModelError
from ...kernel.domain.prices import AMOUNT_MOST, Price, Prices, price_of, priced_models, written
from ...kernel.domain.settings import Settings
from ...kernel.domain.task import COST_EXHAUSTED, Failure, Kind
from ...kernel.run.log import Log
from ...kernel.store.claims import CallKey, Claim, Money
from ...kernel.store.d1 import BoundStatement, Store
from .month import Month

_SILENT = Log(lambda line: None)


class _Announced(NamedTuple):
    """A call's price, and the most that the call can cost."""

    price: Price
    most: int


class CallCosts:
    """What the calls of a task have cost, of this claim and of earlier ones. It implements `CallGate`.

    `cap` is the most that the calls may cost, those in doubt and in flight at their most; None for any amount. Only
    the claim's own worker adds to these amounts, and its writes name the claim. So no call needs a look at the row.
    `month` is what is left of the tenant's month, None for a tenant without a cap.
    """

    def __init__(
        self, money: Money, prices: Prices, cap: int | None = None, month: Month | None = None, log: Log = _SILENT
    ) -> None:
        self._prices = prices
        self._cap = cap
        self._month = month
        self._log = log
        self._booked = money.booked
        self._in_doubt = money.in_doubt
        self._out: dict[CallKey, _Announced] = {}
        self.failure: Failure | None = None
        self.pause: float | None = None
        self.polls = self.looks = False

    def within(
        self, starting: list[CallKey], out: Collection[CallKey], message: Callable[[CallKey], ModelCall]
    ) -> list[CallKey]:
        """Return the first of the calls that fit into the cap beside those that are out, with their most noted."""
        self._out = {key: call for key, call in self._out.items() if key in out}
        self._free()
        allowed: list[CallKey] = []
        for key in starting:
            call = self._priced(message(key))
            if call is None and self._is_capped:
                self.pause = limits.PRICE_WAIT_SECONDS
                break
            if call is not None:
                if self._cap is not None and self._total() + call.most > self._cap:
                    self.failure = spent(self._cap, call.most)
                    break
                if self._month is not None and not self._month.fits(self._total() + call.most):
                    self._wait(self._month, call.most)
                    break
                self._out[key] = call
                self._booked = self._booked or 0
            allowed.append(key)
        if self._out:  # what does not fit waits for these calls to end
            self._free()
        return allowed

    def _free(self) -> None:
        self.failure, self.pause, self.polls, self.looks = None, None, False, False

    def _wait(self, month: Month, most: int) -> None:
        """Find what a call waits for that does not fit into the tenant's month, after a look at it."""
        self.looks = not month.is_fresh
        left_ms = month.waits_ms(most)
        self.polls = left_ms is None and not self.looks
        self.pause = None if left_ms is None or self.looks else left_ms / 1000
        month.is_fresh = False

    async def look(self, store: Store, out: Collection[CallKey]) -> None:
        """Look at what is left of the tenant's month. All that has ended is saved; `out` is announced."""
        self._out = {key: call for key, call in self._out.items() if key in out}
        if self._month is not None:
            await self._month.look(store, self._total())

    def wake_again(self) -> BoundStatement | None:
        """Make the statement that lets a released task go on if its cap or month has changed since the last look."""
        return None if self._month is None or self.pause is None else self._month.wake_again()

    @property
    def _is_capped(self) -> bool:
        return self._cap is not None or self._month is not None

    def _total(self) -> int:
        return (self._booked or 0) + self._in_doubt + sum(one.most for one in self._out.values())

    def _priced(self, call: ModelCall) -> _Announced | None:
        """Return a call's price and its most, None if it has no price, or under a cap no known most."""
        price, limit = price_of(self._prices, call.model, _tier(call)), output_limit(call)
        if price is None or (self._is_capped and not has_most(price, limit, call.body)):
            return None
        return _Announced(price, price.most(sent_bytes(call), limit))

    def ended(self, key: CallKey, outcome: ModelReply | ModelError | None) -> None:
        """Count an ended call. An answer without counts costs the most, an answer that is an error nothing.

        A call without an answer is in doubt.
        """
        call = self._out.pop(key, None)
        if call is None or outcome is None:
            return
        if isinstance(outcome, ModelError) and not outcome.answered:
            self._in_doubt += call.most
        else:
            cost = _cost(call, outcome)
            if cost > call.most:
                self._log("cost_above_most", call=key, cost=written(cost), most=written(call.most))
            self._booked = (self._booked or 0) + cost

    def abandoned(self, out: Collection[CallKey]) -> None:
        """Count calls that have not ended as in doubt."""
        self._in_doubt += self._most(out)
        self._out.clear()

    def totals(self, out: Collection[CallKey]) -> Money:
        """Return what the calls have cost, with the most of the announced calls `out`."""
        booked = None if self._booked is None else min(self._booked, AMOUNT_MOST)
        return Money(booked, min(self._in_doubt, AMOUNT_MOST), min(self._most(out), AMOUNT_MOST))

    def _most(self, out: Collection[CallKey]) -> int:
        return sum(self._out[key].most for key in out if key in self._out)


def spent(cap: int, most: int) -> Failure:
    """Return the failure of a task whose next call may exceed its cap."""
    message = f"the next call may cost {written(most)} dollars, more than is left of the {written(cap)} of its maxCost"
    return Failure(COST_EXHAUSTED, message, False)


def has_most(price: Price, limit: int | None, body: Mapping[str, object] | None = None) -> bool:
    """Whether the most that a call costs is known: its output has a limit, and its content is in the call itself."""
    return (price.max_output if limit is None else limit) is not None and not _is_elsewhere(body)


def lacks_price(settings: Settings, model: str, body: Mapping[str, object]) -> bool:
    """Whether the call of a line lacks a price, or a most."""
    call = ModelCall("", "", model, settings.max_output_tokens, body=body)
    price = price_of(settings.prices, model, _tier(call))
    return price is None or not has_most(price, output_limit(call), body)


def _is_elsewhere(value: object) -> bool:
    """Whether a body names content by its URL, or by the id of a file."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            if "file_id" in one or "file_url" in one:
                return True
            for name in ("url", "image_url"):
                if isinstance(url := one.get(name), str) and not url.startswith("data:"):
                    return True
            left += one.values()
        elif isinstance(one, list):
            left += one
    return False


def gate_of(claim: Claim, settings: Settings, model: str, log: Log) -> CallCosts | None:
    """Return the bill of a claim whose calls go to `model`, None if the model has no price. Lines name their own."""
    cap, month = claim.options.max_cost, Month(claim) if claim.capped else None
    needed = cap is not None or claim.capped or claim.kind is Kind.BATCH or model in priced_models(settings.prices)
    return CallCosts(claim.money, settings.prices, cap, month, log) if needed else None


def _tier(call: ModelCall) -> object:
    return (call.options if call.body is None else call.body).get("service_tier")


def output_limit(call: ModelCall) -> int | None:
    """Return the most tokens that a call lets the model write, None if it sets no limit."""
    own = None if call.body is None else call.body.get("max_completion_tokens")
    return own if isinstance(own, int) else call.max_output_tokens


def _cost(call: _Announced, outcome: ModelReply | ModelError) -> int:
    if isinstance(outcome, ModelError):
        tokens = outcome.tokens
    elif outcome.from_cache:
        return 0
    else:
        tokens = outcome.input_tokens, outcome.output_tokens, outcome.cached_tokens
    if tokens is None:
        return 0
    return call.price.cost(*tokens) if any(tokens) else call.most
