"""The variables of a deployment, parsed and checked once per isolate.

Names, defaults and meanings are the public contract's. A bad value raises `ConfigurationError`, whose
message names the variable and what it takes and never repeats the value, which may be a secret.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from . import limits
from .errors import ConfigurationError
from .origins import TAKES, parse_origins

PROVIDERS = ("workers-ai", "openai", "demo")

# Reads one variable; None when it is not set. What is written bare in wrangler.toml arrives as a number or bool.
Variables = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Checked settings; seconds and characters as the names say."""

    provider: str = "workers-ai"
    model: str | None = None
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 120.0
    concurrency: int = 6
    chunk_chars: int = 6_000
    input_bytes: int = limits.INPUT_BYTES_DEFAULT
    lease_seconds: float = 180.0
    max_attempts: int = 3
    retention_days: float = 30.0
    plan: str = "free"
    tasks_in_flight_most: int | None = None
    characters_a_day_most: int | None = None
    require_keys: bool = True
    cors_origins: frozenset[str] = frozenset()

    @property
    def subrequests(self) -> int:
        """What one invocation may spend in subrequests, on the account's plan."""
        return limits.SUBREQUESTS[self.plan]

    @property
    def statements(self) -> int:
        """What one invocation may send to D1 in statements, on the account's plan."""
        return limits.STATEMENTS[self.plan]

    @property
    def longest_call_seconds(self) -> float:
        """How long a model call may take: no time to speak of where there is no network in it."""
        return 0.0 if self.provider == "demo" else self.timeout_seconds

    @property
    def lease_ms(self) -> int:
        """LEASE_SECONDS in milliseconds: how long a task may stay unclaimed before the sweep dispatches it again."""
        return round(self.lease_seconds * 1000)

    def claim_ms(self, way_seconds: float) -> int:
        """How long a claim lasts without renewal, in ms: LEASE_SECONDS, but no less than a call may take in all.

        It may start late, has AI_TIMEOUT_SECONDS and `way_seconds` to whoever makes it and back, and may wait at its
        end for others; only then is it recorded, and the claim renewed. Else a live worker's task would be taken over.
        """
        longest = limits.START_SECONDS + self.timeout_seconds + way_seconds + limits.LINGER_SECONDS_MOST
        return round(max(self.lease_seconds, longest) * 1000)

    @property
    def retention_ms(self) -> int:
        """The retention in milliseconds, as the store takes it."""
        return round(self.retention_days * 86_400_000)


def load(variables: Variables) -> Settings:
    """Parse and check all variables, or raise ConfigurationError for the first bad one."""
    provider = _choice(variables, "AI_PROVIDER", PROVIDERS, "workers-ai")
    timeout = _number(variables, "AI_TIMEOUT_SECONDS", 120, 0.1, 600)
    lease = _number(variables, "LEASE_SECONDS", 180, 0.2, 3_600)
    if lease <= timeout:
        raise ConfigurationError(
            "LEASE_SECONDS",
            f"greater than AI_TIMEOUT_SECONDS ({timeout:g}), or a claim would end before its call does",
        )
    return Settings(
        provider=provider,
        model=_text(variables, "AI_MODEL"),
        base_url=_base_url(variables, provider),
        api_key=_api_key(variables),
        timeout_seconds=timeout,
        lease_seconds=lease,
        concurrency=_whole(variables, "AI_CONCURRENCY", 6, 1, 6),
        chunk_chars=_whole(variables, "CHUNK_MAX_CHARS", 6_000, 1, limits.CHUNK_CHARS_MOST),
        input_bytes=_whole(variables, "MAX_INPUT_BYTES", limits.INPUT_BYTES_DEFAULT, 1, limits.INPUT_BYTES_MOST),
        max_attempts=_whole(variables, "MAX_ATTEMPTS", 3, 1, 20),
        retention_days=_number(variables, "RETENTION_DAYS", 30, 0, 3_650),
        tasks_in_flight_most=_bound(variables, "MAX_TASKS_IN_FLIGHT", limits.TASKS_IN_FLIGHT_MOST),
        characters_a_day_most=_bound(variables, "MAX_CHARACTERS_PER_DAY", limits.CHARACTERS_A_DAY_MOST),
        plan=_choice(variables, "PLAN", tuple(limits.SUBREQUESTS), "free"),
        require_keys=_choice(variables, "REQUIRE_KEYS", ("true", "false"), "true") == "true",
        cors_origins=_origins(variables),
    )


def _text(variables: Variables, name: str) -> str | None:
    value = variables(name)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or str(value).strip() == "" else str(value).strip()


def _choice(variables: Variables, name: str, choices: tuple[str, ...], default: str) -> str:
    value = _text(variables, name) or default
    if value not in choices:
        raise ConfigurationError(name, f"one of {', '.join(choices)}")
    return value


def _number(variables: Variables, name: str, default: float, least: float, most: float) -> float:
    text = _text(variables, name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise ConfigurationError(name, f"a number from {least:g} to {most:g}")
    return value


def _whole(variables: Variables, name: str, default: int, least: int, most: int) -> int:
    takes = f"a whole number from {least} to {most}"
    text = _text(variables, name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ConfigurationError(name, takes) from None
    if not least <= value <= most:
        raise ConfigurationError(name, takes)
    return value


def _bound(variables: Variables, name: str, most: int) -> int | None:
    """Read a limit of each tenant; without one, or with 0, there is none."""
    return _whole(variables, name, 0, 0, most) or None


def _base_url(variables: Variables, provider: str) -> str | None:
    text = _text(variables, "AI_BASE_URL")
    if text is None:
        if provider == "openai":
            raise ConfigurationError("AI_BASE_URL", "set when AI_PROVIDER is openai: a URL up to and including /v1")
        return None
    takes = "an http or https URL up to and including /v1, without credentials, query or fragment"
    try:
        url = urlsplit(text)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and "@" not in url.netloc
    except ValueError:
        sound = False
    if not sound or url.query or url.fragment:
        raise ConfigurationError("AI_BASE_URL", takes)
    return text.rstrip("/")


def _origins(variables: Variables) -> frozenset[str]:
    text = _text(variables, "CORS_ORIGINS")
    try:
        return frozenset() if text is None else parse_origins(text)
    except ValueError:
        raise ConfigurationError("CORS_ORIGINS", TAKES) from None


def _api_key(variables: Variables) -> str | None:
    text = _text(variables, "AI_API_KEY")
    if text is not None and not (text.isascii() and text.isprintable() and " " not in text):
        raise ConfigurationError("AI_API_KEY", "printable ASCII without spaces, as it goes into a header")
    return text
