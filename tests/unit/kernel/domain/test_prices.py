"""PRICES and the published prices: what is a price, and for which hosts a price is valid."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from src.kernel.calls.openai import DEFAULT_MODEL as OPENAIS
from src.kernel.calls.workers_ai import DEFAULT_MODEL as CLOUDFLARES
from src.kernel.calls.workers_ai import OUTPUT_TOKENS
from src.kernel.domain import prices
from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.prices import Price, amount_of, price_of, published, written
from src.kernel.domain.settings import load

OWN = "https://api.openai.com/v1"


def loaded(**variables: Any) -> Any:
    """Return the prices of a deployment with these variables."""
    return load(variables.get).prices


def test_each_published_price_is_complete() -> None:
    """Each entry has three prices, the cached one not above the input's, the most output tokens, its source and day."""
    for *_, source, day in (*prices.OPENAI.values(), *prices.WORKERS_AI.values()):
        assert source.startswith(("https://developers.openai.com/", "https://developers.cloudflare.com/"))
        assert date(2026, 11, 1) <= date.fromisoformat(day) <= datetime.now(UTC).date()
    for found in (published("openai", OWN), published("workers-ai", None)):
        for price in found.values():
            assert 0 < price.cached_input <= price.input <= price.output
            assert price.max_output
    assert {price.max_output for price in published("workers-ai", None).values()} == {OUTPUT_TOKENS}
    assert OPENAIS in published("openai", OWN)
    assert CLOUDFLARES in published("workers-ai", None)


def test_flex_costs_half() -> None:
    """OpenAI's tier `flex` has half the price of each model, exactly."""
    found = published("openai", OWN)
    for model in (name for name in found if ":" not in name):
        assert [2 * price for price in found[f"{model}:flex"][:3]] == list(found[model][:3])


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.openai.com.evil.example/v1", "http://api.openai.com/v1", "https://eu.api.openai.com/v1"),
        *("https://me.openai.azure.com/openai/v1", "https://gateway.ai.cloudflare.com/v1/a/b/openai", None),
    ],
)
def test_published_prices_are_for_the_own_host_alone(url: str | None) -> None:
    """Another host, even of OpenAI, has other prices or none."""
    assert published("openai", url) == {}
    assert published("demo", url) == {}


def test_prices_override_what_is_published() -> None:
    """PRICES replaces an entry of the table, and adds others. `cachedInput` is by default the price of the input."""
    own = {
        OPENAIS: {"input": "1", "output": "2"},
        "mine": {"input": "0", "output": "1000", "batch": {"input": "0", "output": "0"}},
    }
    found = loaded(AI_PROVIDER="openai", AI_BASE_URL=OWN, PRICES=json.dumps(own))
    assert found[OPENAIS] == Price(10**9, 10**9, 2 * 10**9)
    assert found["mine"] == Price(0, 0, 1000 * 10**9)
    assert "gpt-5.4" in found
    assert loaded(AI_PROVIDER="demo") == {}


GOOD: dict[str, Any] = {"input": "1", "output": "2"}
BAD: tuple[Any, ...] = (
    *(["x"], "x", {"m": 1}, {"m": {"input": "1"}}, {"m": {"output": "1"}}, {"m": GOOD | {"surprise": "1"}}),
    *({"m": GOOD | {"input": text}} for text in ("", "-1", "1e3", "1,5", "1001", "1000.1", "0.0000000001", " 1", 1)),
    *({"m": GOOD | {"maxOutput": most}} for most in (0, -1, 1.5, "1", True, 10**8)),
    {"m": GOOD | {"batch": {"input": "1"}}},
)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_price_is_refused_by_name(bad: Any) -> None:
    """PRICES is refused as a whole if anything in it is no price, without repeating it."""
    with pytest.raises(ConfigurationError, match="PRICES must be a JSON object with a price"):
        loaded(AI_PROVIDER="demo", PRICES=json.dumps(bad))


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "nan"])
def test_prices_that_are_no_json_are_refused(text: str) -> None:
    """Text that is no JSON, or nested too deep, is refused alike."""
    with pytest.raises(ConfigurationError, match="PRICES must be"):
        loaded(AI_PROVIDER="demo", PRICES=text)


def test_amounts_are_decimal_text() -> None:
    """An amount is written with nine decimals, and read with up to nine."""
    assert written(12_345_678) == "0.012345678"
    assert written(3 * 10**9) == "3.000000000"
    assert amount_of("0.012345678") == 12_345_678
    assert [amount_of(text) for text in ("", "-1", "1.0000000001", "1e3", ".5", "1000000000")] == [None] * 6


def test_a_tier_without_an_entry_has_no_price() -> None:
    """The tiers that are usual have the model's price, another one that of its own entry."""
    found = {"m": Price(1, 1, 1), "m:flex": Price(0, 0, 0), "m:8b": Price(2, 2, 2)}
    assert [price_of(found, "m", tier) for tier in (None, "auto", "default")] == [found["m"]] * 3
    assert price_of(found, "m", "flex") == found["m:flex"]
    assert price_of(found, "m", "priority") is None
    assert price_of(found, "m:8b") == found["m:8b"]
    assert prices.priced_models(found) == ["m", "m:flex", "m:8b"]
