"""The small pure modules of the core: settings, origins, prices, ids, retries, and structured counts."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.kernel.calls.openai import DEFAULT_MODEL as OPENAIS
from src.kernel.calls.pace import backoff_seconds, rate_limit_seconds
from src.kernel.calls.workers_ai import DEFAULT_MODEL as CLOUDFLARES
from src.kernel.calls.workers_ai import OUTPUT_TOKENS
from src.kernel.domain import limits, prices
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import ConfigurationError, ConfigurationFaults
from src.kernel.domain.ids import is_task_id, new_task_id
from src.kernel.domain.prices import Price, amount_of, price_of, published, written
from src.kernel.domain.settings import BATCH_FIELDS, MODEL_OPTIONS, load
from src.kernel.domain.structure import commonest


def test_settings_have_the_defaults_of_the_contract():
    known = {"provider": "workers-ai", "model": None, "timeout_seconds": 120, "concurrency": 6, "chunk_chars": 6000}
    known |= {"input_bytes": 1_000_000, "lease_ms": 180_000, "max_attempts": 3, "retention_ms": 30 * 86_400_000}
    settings = load(lambda name: None)
    assert {name: getattr(settings, name) for name in known} == known


BAD_VALUES = {
    "AI_PROVIDER": ["gpt", "Demo"],
    "AI_TIMEOUT_SECONDS": ["soon", "nan", "0"],
    "AI_CONCURRENCY": ["7", "0", "2.5"],
    "CHUNK_MAX_CHARS": ["-1"],
    "MAX_INPUT_BYTES": ["1e6", "99999999"],
    "MAX_FILE_BYTES": ["95000001"],
    "MAX_FILES": ["0"],
    "MAX_FILES_BYTES": ["0"],
    "LEASE_SECONDS": ["120", "inf"],
    "MAX_ATTEMPTS": ["0"],
    "RETENTION_DAYS": ["-1"],
    "PLAN": ["enterprise"],
    "AI_BASE_URL": [
        "ftp://models.example/v1",
        "https://user:secret@models.example/v1",
        "https://[bad/v1",
        "https://models.example/v1?key=1",
    ],
    "AI_MAX_OUTPUT_TOKENS": ["1000001"],
    "AI_MODEL_OPTIONS": ["top_p, max_tokens", "top p"],
    "AI_BATCH_FIELDS": ["messages, stream", "messages, n", "a b"],
    "STRUCTURED_OUTPUT": ["json_schema", "Native"],
    "AI_REASKS": ["-1", "4", "1.5"],
    "AI_API_KEY": ["two words", "schlüssel"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD_VALUES for value in BAD_VALUES[name]])
def test_a_bad_variable_is_refused_by_name_and_never_repeated(name: str, value: str):
    with pytest.raises(ConfigurationError) as caught:
        load({name: value}.get)
    message = str(caught.value)
    assert message.startswith(f"{name} must be ")
    assert len(value) < 4 or value not in message


def test_lists_are_separated_by_commas():
    settings = load({"AI_MODELS": " a, b/c ,,a", "AI_MODEL_OPTIONS": "top_k,min_p", "AI_MAX_OUTPUT_TOKENS": 700}.get)
    assert (settings.models, settings.model_options) == (("a", "b/c"), ("top_k", "min_p"))
    assert settings.max_output_tokens == 700
    assert load({"AI_MODEL_OPTIONS": " , "}.get).model_options == MODEL_OPTIONS


def test_the_fields_of_batches_have_a_default_list():
    assert load({"AI_BATCH_FIELDS": "messages, tools"}.get).batch_fields == ("messages", "tools")
    assert load({"AI_MODEL_OPTIONS": "top_k"}.get).batch_fields == (*BATCH_FIELDS, "top_k")
    assert load(lambda _name: None).batch_fields == (*BATCH_FIELDS, *MODEL_OPTIONS)


def test_a_model_is_asked_again_once_unless_the_variable_says_otherwise():
    assert load(lambda _name: None).reasks == 1
    assert [load({"AI_REASKS": str(times)}.get).reasks for times in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("provider", "base_url", "sending"),
    [
        ("workers-ai", None, "prompt"),
        ("demo", None, "native"),
        ("openai", "https://api.openai.com/v1", "native"),
        ("openai", "https://eu.api.openai.com:443/v1", "native"),
        ("openai", "https://mine.openai.azure.com/openai/v1", "native"),
        ("openai", "https://API.OpenAI.com", "native"),
        ("openai", "http://127.0.0.1:11434/v1", "both"),
        ("openai", "https://openai.com.example/v1", "both"),
        ("openai", "https://notopenai.com/v1", "both"),
        ("openai", "https://gateway.example/api.openai.com/v1", "both"),
    ],
)
def test_an_output_schema_is_sent_as_the_server_takes_it(provider: str, base_url: str | None, sending: str):
    variables = {"AI_PROVIDER": provider, "AI_BASE_URL": base_url}
    assert load(variables.get).structured_output == sending
    for own in ("native", "prompt", "both"):
        assert load((variables | {"STRUCTURED_OUTPUT": own}).get).structured_output == own


def test_all_bad_variables_are_named_at_once():
    bad = {"AI_PROVIDER": "gpt", "AI_TIMEOUT_SECONDS": "500", "LEASE_SECONDS": "never", "CORS_ORIGINS": "*"}
    with pytest.raises(ConfigurationFaults) as caught:
        load(bad.get)
    assert [fault.variable for fault in caught.value.faults] == ["AI_PROVIDER", "LEASE_SECONDS", "CORS_ORIGINS"]
    assert str(caught.value).startswith(
        "AI_PROVIDER must be one of workers-ai, openai, demo. LEASE_SECONDS must be a number from 0.2 to 3600. CORS_"
    )


@pytest.mark.parametrize(("lease", "alone_ms", "laned_ms"), [(180, 180_000, 180_000), (121, 124_000, 129_000)])
def test_a_claim_lasts_as_long_as_a_call_may_take(lease: int, alone_ms: int, laned_ms: int):
    settings = load({"LEASE_SECONDS": lease}.get)
    assert settings.claim_ms(0, limits.START_SECONDS) == alone_ms
    assert settings.claim_ms(limits.LANE_SLACK_SECONDS, limits.START_SECONDS) == laned_ms


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10), st.integers(0, 2**48 - 1))
def test_ids_are_version_7_and_sort_by_time(now: int, entropy: bytes, later: int):
    first, second = new_task_id(now, entropy), new_task_id(later, entropy)
    assert is_task_id(first)
    assert first[14] == "7"
    assert (now < later) == (first < second)


@pytest.mark.parametrize(
    "text", ["", "x", "0" * 36, new_task_id(1, b"\xff" * 10).upper(), new_task_id(1, bytes(10)) + "0"]
)
def test_what_is_no_id_is_known_as_such(text: str):
    assert not is_task_id(text)


@given(st.integers(1, 100), st.floats(0, 1))
def test_backoff_grows_within_its_bounds(attempts: int, chance: float):
    wait = backoff_seconds(attempts, chance)
    assert limits.BACKOFF_SECONDS_FIRST / 2 <= wait <= limits.BACKOFF_SECONDS_MOST
    assert backoff_seconds(attempts, 0) <= wait <= backoff_seconds(attempts, 1)


@given(st.floats(2, 3_599), st.integers(0, 3), st.floats(0, 1))
def test_a_plausible_rate_limit_is_obeyed_to_a_tenth_of_a_second(asked: float, waits: int, chance: float):
    assert asked <= rate_limit_seconds(asked, waits, chance) <= asked + 0.1 + 1e-9


@pytest.mark.slow
@given(
    st.lists(st.one_of(st.none(), st.just(0.0), st.floats(-1e6, 1e6)), min_size=100, max_size=100),
    st.lists(st.floats(0, 1), min_size=100, max_size=100),
)
def test_a_row_of_rate_limits_takes_hours_whatever_is_asked_for(asked: list[float | None], chances: list[float]):
    assert limits.RATE_LIMIT_WAITS_MOST == 100
    waits = [rate_limit_seconds(*wait) for wait in zip(asked, range(100), chances, strict=True)]
    assert sum(waits) > 3_600
    assert min(waits) >= 0.125
    assert max(waits) <= 3_600


@given(st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1))
def test_rate_limits_in_a_row_are_waited_for_longer_and_longer(asked: float | None, chance: float):
    waits = [rate_limit_seconds(asked, count, chance) for count in range(150)]
    assert waits == sorted(waits)
    assert [rate_limit_seconds(0, count, 0) for count in range(5)] == [0.125, 0.25, 0.5, 1, 2]


def test_openai_needs_its_url():
    with pytest.raises(ConfigurationError, match=r"^AI_BASE_URL must be set"):
        load({"AI_PROVIDER": "openai"}.get)


@given(st.floats(0, 1e6), st.integers(0, 200), st.floats(0, 1))
def test_a_rate_limit_is_obeyed(asked: float, waits: int, chance: float):
    assert rate_limit_seconds(asked, waits, chance) >= min(asked, limits.RATE_LIMIT_SECONDS_MOST)
    assert 0 < rate_limit_seconds(None, waits, chance) <= limits.RATE_LIMIT_SECONDS_MOST


def test_the_lease_must_exceed_the_timeout():
    with pytest.raises(ConfigurationError, match=r"^LEASE_SECONDS must be greater"):
        load({"AI_TIMEOUT_SECONDS": 180}.get)
    assert load({"AI_TIMEOUT_SECONDS": "5", "LEASE_SECONDS": "6"}.get).lease_ms == 6000


REFUSED, INVALID, AWAY = TaskCode.MODEL_REFUSED, TaskCode.INVALID_OUTPUT, TaskCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([REFUSED], REFUSED), ([AWAY, INVALID, REFUSED, INVALID], INVALID), ([AWAY, REFUSED, REFUSED, AWAY], AWAY)],
)
def test_the_commonest_cause_is_named(codes: list[TaskCode], expected: TaskCode):
    assert commonest(codes) is expected


SOUND = """
    https://example.com http://localhost:5173 https://a.b-c.example.co.uk:8443 http://127.0.0.1:3000 http://[::1]:3000
    https://xn--bcher-kva.example http://example.com:443 https://h:65535
"""
BAD = """
    * https://*.example.com null example.com https:// https://example.com/ https://example.com/path https://example.com?x
    https://example.com#x https://user@example.com HTTPS://example.com https://Example.com https://bücher.example
    https://example.com:443 http://example.com:80 https://example.com:0 https://example.com:080
    https://example.com:65536 https://example.com: https://example.com. https://-a.example https://a..b
    ftp://example.com https://a.example, , https://a.example,,https://b.example
"""


def origins(value: str) -> frozenset[str]:
    return load({"CORS_ORIGINS": value}.get).cors_origins


@pytest.mark.parametrize("origin", SOUND.split())
def test_sound(origin: str) -> None:
    assert origins(origin) == {origin}
    assert origins(f" {origin} , https://other.example") == {origin, "https://other.example"}


@pytest.mark.parametrize("bad", [*BAD.split(), "https://a.example https://b.example", "https://a.example\nX: y"])
def test_bad(bad: str) -> None:
    for value in (bad, f"https://other.example,{bad}"):
        with pytest.raises(ConfigurationError, match=r"^CORS_ORIGINS must be web origins") as caught:
            origins(value)
        assert "other.example" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "  "])
def test_none(value: str) -> None:
    assert origins(value) == load(lambda _name: None).cors_origins == frozenset()


OWN = "https://api.openai.com/v1"


def loaded(**variables: Any) -> Any:
    return load(variables.get).prices


def test_each_published_price_is_complete() -> None:
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
BAD_PRICES: tuple[Any, ...] = (
    *(["x"], "x", {"m": 1}, {"m": {"input": "1"}}, {"m": {"output": "1"}}, {"m": GOOD | {"surprise": "1"}}),
    *({"m": GOOD | {"input": text}} for text in ("", "-1", "1e3", "1,5", "1001", "1000.1", "0.0000000001", " 1", 1)),
    *({"m": GOOD | {"maxOutput": most}} for most in (0, -1, 1.5, "1", True, 10**8)),
    {"m": GOOD | {"batch": {"input": "1"}}},
)


@pytest.mark.parametrize("bad", BAD_PRICES)
def test_a_bad_price_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="PRICES must be a JSON object with a price"):
        loaded(AI_PROVIDER="demo", PRICES=json.dumps(bad))


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "nan"])
def test_prices_that_are_no_json_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PRICES must be"):
        loaded(AI_PROVIDER="demo", PRICES=text)


def test_amounts_are_decimal_text() -> None:
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
