"""Prices of models, and amounts of money: integers of a billionth of a dollar, which the API writes as decimal text.

PRICES has a deployment's prices. `OPENAI` and `WORKERS_AI` have published ones, for the providers' own hosts alone.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

AMOUNT_MOST: Final = 2**53 - 1  # An amount is exact in JavaScript.
_BILLION = 10**9
_MILLION = 10**6
# A price is at most 1,000 dollars a million tokens, so that the cost of one call is below AMOUNT_MOST.
_DOLLARS = re.compile(r"(?:1000(?:\.0{1,9})?|[0-9]{1,3}(?:\.[0-9]{1,9})?)")
_AMOUNT = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,9})?")
_TOKENS_MOST = 10_000_000
_PRICES: Final = ("input", "cachedInput", "output")
TAKES = (
    'a JSON object with a price for each model, such as {"MODEL": {"input": "0.75", "cachedInput": "0.075", '
    '"output": "4.50", "maxOutput": 128000}}: dollars a million tokens as text, up to 1000 and with up to 9 decimals'
)
# The values of `service_tier` with which a call has the price of its model alone.
_USUAL_TIERS: Final = frozenset({None, "auto", "default", "standard"})


class Price(NamedTuple):
    """A model's price by token, in 10^-15 dollars. `max_output`: the tokens it writes at most, None if unknown."""

    input: int
    cached_input: int
    output: int
    max_output: int | None = None

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Return what a call cost, rounded up. The cached tokens are a part of the input."""
        cached = min(cached_tokens, input_tokens)
        whole = (input_tokens - cached) * self.input + cached * self.cached_input + output_tokens * self.output
        return -(-whole // _MILLION)

    def most(self, sent_bytes: int, output_tokens: int | None) -> int:
        """Return the most a call can cost: a byte sent has at most a token. Without a limit of output, the input."""
        limit = self.max_output if output_tokens is None else output_tokens
        return -(-(sent_bytes * max(self.input, self.cached_input) + (limit or 0) * self.output) // _MILLION)


type Prices = Mapping[str, Price]


def price_of(prices: Prices, model: str, tier: object = None) -> Price | None:
    """Return the price of a model's calls with a `service_tier`, None if they have no price."""
    return prices.get(model if tier in _USUAL_TIERS else f"{model}:{tier}")


def priced_models(prices: Prices) -> list[str]:
    """Return the models whose calls may have a price, perhaps with some values of `service_tier` alone."""
    return list(dict.fromkeys(name for key in prices for name in (key, key.rpartition(":")[0]) if name))


def parse_prices(text: str) -> Prices:
    """Read PRICES. Raises ValueError if it is no such object."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - the caller knows one error
    return {model: _price(entry) for model, entry in found.items()}


def _price(entry: object) -> Price:
    if not isinstance(entry, dict) or entry.keys() - {*_PRICES, "maxOutput", "batch"}:
        raise ValueError("no price")
    if "batch" in entry:
        _price(entry["batch"])  # for calls as a batch of the provider; it raises if the price is wrong
    dollars = {name: _dollars(entry[name]) for name in _PRICES if name in entry}
    most = entry.get("maxOutput")
    if most is not None and (type(most) is not int or not 1 <= most <= _TOKENS_MOST):
        raise ValueError("no count of tokens")
    try:
        return Price(dollars["input"], dollars.get("cachedInput", dollars["input"]), dollars["output"], most)
    except KeyError:
        raise ValueError("a price is missing") from None


def _dollars(text: object) -> int:
    if not isinstance(text, str) or not _DOLLARS.fullmatch(text):
        raise ValueError("no price")
    return int(Decimal(text) * _BILLION)


def amount_of(text: str) -> int | None:
    """Read an amount of dollars, None if the text is none."""
    return int(Decimal(text) * _BILLION) if _AMOUNT.fullmatch(text) else None


def written(amount: int) -> str:
    """Write an amount in dollars, with nine decimals."""
    return f"{amount // _BILLION}.{amount % _BILLION:09d}"


# Published prices. Each entry has dollars a million tokens for input, cached input and output, the most output tokens,
# the page that has the price, and the day on which the entry was last compared with a copy of that page. A call of
# Workers AI without a limit gets the limit that this project sends.
_OF_OPENAI: Final = ("https://developers.openai.com/api/docs/pricing", "2026-12-01")
_OF_CLOUDFLARE: Final = ("https://developers.cloudflare.com/workers-ai/platform/pricing/", "2026-12-01")
OPENAI: Final = {
    "gpt-5.5": ("5", "0.5", "30", 128_000, *_OF_OPENAI),
    "gpt-5.4": ("2.5", "0.25", "15", 128_000, *_OF_OPENAI),
    "gpt-5.4-mini": ("0.75", "0.075", "4.5", 128_000, *_OF_OPENAI),
    "gpt-5.4-nano": ("0.2", "0.02", "1.25", 128_000, *_OF_OPENAI),
}
WORKERS_AI: Final = {
    "@cf/qwen/qwen3-30b-a3b-fp8": ("0.051", "0.051", "0.34", 4_096, *_OF_CLOUDFLARE),
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast": ("0.293", "0.293", "2.253", 4_096, *_OF_CLOUDFLARE),
    "@cf/meta/llama-3.2-3b-instruct": ("0.051", "0.051", "0.335", 4_096, *_OF_CLOUDFLARE),
    "@cf/meta/llama-3.1-8b-instruct-fp8-fast": ("0.045", "0.045", "0.384", 4_096, *_OF_CLOUDFLARE),
}
_OPENAIS_HOST = re.compile(r"https://api\.openai\.com(?::443)?(?:/|\Z)", re.IGNORECASE)


def published(provider: str, base_url: str | None) -> Prices:
    """Return the published prices of the provider's own host. OpenAI's tier `flex` costs half."""
    if provider == "workers-ai":
        return {model: _listed(*entry) for model, entry in WORKERS_AI.items()}
    if provider != "openai" or base_url is None or not _OPENAIS_HOST.match(base_url):
        return {}
    usual = {model: _listed(*entry) for model, entry in OPENAI.items()}
    flex = {
        f"{model}:flex": Price(price.input // 2, price.cached_input // 2, price.output // 2, price.max_output)
        for model, price in usual.items()
    }
    return usual | flex


def _listed(cost_in: str, cached: str, cost_out: str, max_output: int, _source: str, _day: str) -> Price:
    return Price(_dollars(cost_in), _dollars(cached), _dollars(cost_out), max_output)
