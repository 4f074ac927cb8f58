"""Parses and checks the variables of a deployment, once per isolate.

The public contract defines their names, defaults and meanings. A `ConfigurationError` names each bad variable and its
allowed values, but never repeats a bad value, which may be a secret. Web origins have the form in which browsers write
them in the header `Origin` (RFC 6454, section 6.2).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from . import limits
from .database_state import MB
from .errors import ConfigurationError, ConfigurationFaults
from .ids import LOCAL, TENANT_TAKES, is_tenant
from .prices import TAKES as PRICES_TAKE
from .prices import Prices, parse_prices, published

# How a server gets an output schema: `native` in `response_format`, `prompt` in the system message, or `both`.
Sending = Literal["native", "prompt", "both"]
SENDINGS: Final[tuple[Sending, ...]] = get_args(Sending)

_OPENAIS_OWN = re.compile(r"https?://(?:[^/?#]*\.)?openai\.(?:com|azure\.com)(?::\d*)?(?:/|\Z)", re.IGNORECASE)


def is_openais_own(base_url: str) -> bool:
    """Whether the address is that of an OpenAI server, run by OpenAI itself or by Azure."""
    return _OPENAIS_OWN.match(base_url) is not None


_GATEWAY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GATEWAY = re.compile(
    r"https://(?:gateway\.ai\.cloudflare\.com|api\.cloudflare\.com/client/v4/accounts/[^/?#]+/ai/v1)(?:/|\Z)",
    re.IGNORECASE,
)


def is_gateway(base_url: str) -> bool:
    """Whether the address is that of Cloudflare's AI Gateway. Its custom domains are not recognised."""
    return _GATEWAY.match(base_url) is not None


def sending_by_default(provider: str, base_url: str | None) -> Sending:
    """Return the value of STRUCTURED_OUTPUT for a deployment that does not set it.

    OpenAI's own servers make a model's output fit the schema, or refuse the schema. Others may ignore the field
    `response_format` and answer 200, so the schema also goes into the system message. Few models of Workers AI accept
    the field. The provider `demo` reads the schema itself.
    """
    if provider == "workers-ai":
        return "prompt"
    return "native" if base_url is None or is_openais_own(base_url) else "both"


TAKES = (
    "web origins as browsers send them, separated by commas: http or https, a host in lower case, a port unless it "
    "is the scheme's own, no path, no slash at the end, no *"
)

_ORIGIN = re.compile(
    r"""
    (?P<scheme>https?)://
    (?: (?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*      # a name or an IPv4 address
        [a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?
      | \[[0-9a-f:.]{2,45}\] )                             # an IPv6 address
    (?: :(?P<port>[1-9][0-9]{0,4}) )?
    """,
    re.VERBOSE,
)
_OWN_PORTS = {"http": 80, "https": 443}
_PORT_MOST = 65_535


def parse_origins(text: str) -> frozenset[str]:
    """Read web origins, separated by commas. Raises ValueError for one that no browser could send."""
    found = [part.strip() for part in text.split(",")]
    if not all(map(_is_origin, found)):
        raise ValueError("not an origin")
    return frozenset(found)


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return False
    port = int(match["port"] or 0)
    return port <= _PORT_MOST and port != _OWN_PORTS[match["scheme"]]


# `Variables` is a function from a variable's name to the variable's value, which is None if the variable is not set.
# Values without quotes in wrangler.toml arrive as numbers or bools.
Variables = Callable[[str], object]


class Reading:
    """Reads variables of the deployment, and remembers which variables were read and which were refused."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self.asked: set[str] = set()
        self.faults: list[ConfigurationError] = []

    def __call__(self, name: str) -> object:
        """Return the value of a variable, or None if it is not set."""
        self.asked.add(name)
        return self._variables(name)

    def refuse(self, name: str, takes: str) -> None:
        """Record that a variable's value is bad. Only the first fault of a variable is kept."""
        if not self.refused(name):
            self.faults.append(ConfigurationError(name, takes))

    def refused(self, *names: str) -> bool:
        """Whether any of the given variables has a value that was refused."""
        return any(fault.variable in names for fault in self.faults)


EVENT_LOOPS = ("adapted", "pyodide")
PROVIDERS = ("workers-ai", "openai", "demo")
MODEL_OPTIONS = ("top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort")
# The fields in a line of a batch that are sent to the provider, in addition to the model and AI_MODEL_OPTIONS.
BATCH_FIELDS = (
    *("messages", "input", "instructions", "max_tokens", "max_completion_tokens", "max_output_tokens"),
    *("temperature", "response_format", "text"),
)
# Fields that are never sent for a line of a batch: a line is one call with one whole answer, and has a model.
_NO_BATCH_FIELDS = frozenset({"model", "n", "stream", "stream_options"})
# Fields of a call that clients may not set: the service does, or they would change the reply's form.
_OWN_FIELDS = _NO_BATCH_FIELDS | {"max_completion_tokens", "max_tokens", "messages", "prompt", "temperature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A deployment's settings, checked. The comment on each field names the variable that sets it."""

    provider: str = "workers-ai"  # AI_PROVIDER, one of PROVIDERS.
    model: str | None = None  # AI_MODEL; None for the provider's default model.
    models: tuple[str, ...] = ()  # AI_MODELS: the models that a client may name besides AI_MODEL.
    max_output_tokens: int | None = None  # AI_MAX_OUTPUT_TOKENS.
    # PRICES, and for other models what their provider has published, by `model` or `model:service_tier`.
    prices: Prices = field(default_factory=dict, hash=False)
    model_options: tuple[str, ...] = MODEL_OPTIONS  # AI_MODEL_OPTIONS: fields of a model call that clients may set.
    batch_fields: tuple[str, ...] = BATCH_FIELDS + MODEL_OPTIONS  # AI_BATCH_FIELDS.
    structured_output: Sending = "prompt"  # STRUCTURED_OUTPUT: how a model's server gets an output schema.
    base_url: str | None = None  # AI_BASE_URL, the server's URL up to and including /v1.
    api_key: str | None = field(default=None, repr=False)  # AI_API_KEY.
    gateway: str | None = None  # AI_GATEWAY: the AI Gateway for the calls of `workers-ai`.
    timeout_seconds: float = 120.0  # AI_TIMEOUT_SECONDS.
    concurrency: int = 6  # AI_CONCURRENCY: model calls that one run makes at a time.
    chunk_chars: int = 6_000  # CHUNK_MAX_CHARS.
    input_bytes: int = limits.INPUT_BYTES_DEFAULT  # MAX_INPUT_BYTES.
    lease_seconds: float = 180.0  # LEASE_SECONDS.
    max_attempts: int = 3  # MAX_ATTEMPTS.
    patience_seconds: float = 3_600.0  # MODEL_PATIENCE_SECONDS.
    reasks: int = 1  # AI_REASKS: how often a model is asked again if its output does not fit the schema.
    retention_days: float = 30.0  # RETENTION_DAYS.
    plan: str = "free"  # PLAN, either `free` or `paid`.
    tasks_in_flight_most: int | None = None  # MAX_TASKS_IN_FLIGHT of each tenant; None without a limit.
    characters_a_day_most: int | None = None  # MAX_CHARACTERS_PER_DAY of each tenant; None without a limit.
    objects_at_work_most: int | None = None  # MAX_OBJECTS_AT_WORK of the deployment; None without a limit.
    require_keys: bool = True  # REQUIRE_KEYS.
    keep_input: bool = False  # KEEP_INPUT.
    keep_names: bool = True  # KEEP_NAMES.
    cors_origins: frozenset[str] = frozenset()  # CORS_ORIGINS.
    operator_tenant: str = LOCAL  # OPERATOR_TENANT.
    storage_mb_most: int = limits.STORAGE_MB_MOST["free"]  # STORAGE_MB_MOST: the limit, in millions of bytes.
    webhook_key: str | None = field(default=None, repr=False)  # WEBHOOK_KEY.
    webhook_loopback: bool = False  # WEBHOOK_LOOPBACK: whether webhooks may go to the machine of the Worker itself.
    file_bytes: int = limits.FILE_BYTES_DEFAULT  # MAX_FILE_BYTES of one file.
    files_bytes: int = limits.FILES_BYTES_DEFAULT  # MAX_FILES_BYTES of all files of a tenant.
    files_most: int = limits.FILES_DEFAULT  # MAX_FILES of a tenant, without the files that batches write.
    event_loop: str = EVENT_LOOPS[0]  # EVENT_LOOP, one of EVENT_LOOPS.

    @property
    def storage_bytes_most(self) -> int:
        """STORAGE_MB_MOST in bytes."""
        return self.storage_mb_most * MB

    @property
    def subrequests(self) -> int:
        """How many subrequests one invocation of the Worker may make on the account's plan."""
        return limits.SUBREQUESTS[self.plan]

    @property
    def statements(self) -> int:
        """How many D1 statements one invocation of the Worker may send on the account's plan."""
        return limits.STATEMENTS[self.plan]

    @property
    def longest_call_seconds(self) -> float:
        """How many seconds a model call may take, which is AI_TIMEOUT_SECONDS, or 0 for `demo` without a network."""
        return 0.0 if self.provider == "demo" else self.timeout_seconds

    @property
    def lease_ms(self) -> int:
        """LEASE_SECONDS in ms: after this time without a claim, the sweep dispatches a task again."""
        return round(self.lease_seconds * 1000)

    def claim_ms(self, way_seconds: float, start_seconds: float) -> int:
        """How many ms a claim lasts without renewal, the longer of LEASE_SECONDS and the longest model call.

        A model call may start `start_seconds` late, take AI_TIMEOUT_SECONDS, need `way_seconds` for the way to its
        caller and back, and wait after its end to be recorded together with others. The claim is renewed only then. If
        it were shorter, another worker could take over a task whose worker still lives.
        """
        longest = start_seconds + self.timeout_seconds + way_seconds + limits.LINGER_SECONDS_MOST
        return round(max(self.lease_seconds, longest) * 1000)

    @property
    def longest_claim_ms(self) -> int:
        """The longest time, in ms, from the announcement of a call to its record, with lanes."""
        return self.claim_ms(limits.LANE_SLACK_SECONDS, limits.START_SECONDS_MOST)

    @property
    def retention_ms(self) -> int:
        """RETENTION_DAYS in milliseconds."""
        return round(self.retention_days * 86_400_000)


def load(variables: Variables) -> Settings:
    """Parse and check all variables. Raises a ConfigurationError that names all bad ones at once."""
    reading = variables if isinstance(variables, Reading) else Reading(variables)
    settings = _read(reading)
    if reading.faults:
        raise ConfigurationFaults(reading.faults)
    return settings


def _read(variables: Reading) -> Settings:
    """Read all variables of a deployment. A variable with a bad value is recorded and counts as not set."""
    provider = _choice(variables, "AI_PROVIDER", PROVIDERS, "workers-ai")
    base_url = _base_url(variables, provider)
    timeout = _number(variables, "AI_TIMEOUT_SECONDS", 120, 0.1, 600)
    lease = _number(variables, "LEASE_SECONDS", 180, 0.2, 3_600)
    if lease <= timeout and not variables.refused("LEASE_SECONDS", "AI_TIMEOUT_SECONDS"):
        variables.refuse(
            "LEASE_SECONDS", f"greater than AI_TIMEOUT_SECONDS ({timeout:g}), or a claim would end before its call does"
        )
    plan = _choice(variables, "PLAN", tuple(limits.SUBREQUESTS), "free")
    return Settings(
        provider=provider,
        model=_text(variables, "AI_MODEL"),
        models=_list(variables, "AI_MODELS"),
        max_output_tokens=_bound(variables, "AI_MAX_OUTPUT_TOKENS", limits.OUTPUT_TOKENS_MOST),
        prices={**published(provider, base_url), **_parsed(variables, "PRICES", parse_prices, PRICES_TAKE, {})},
        model_options=(model_options := _fields(variables, "AI_MODEL_OPTIONS", _OWN_FIELDS) or MODEL_OPTIONS),
        batch_fields=_fields(variables, "AI_BATCH_FIELDS", _NO_BATCH_FIELDS) or BATCH_FIELDS + model_options,
        structured_output=_choice(variables, "STRUCTURED_OUTPUT", SENDINGS, sending_by_default(provider, base_url)),
        base_url=base_url,
        api_key=_secret(variables, "AI_API_KEY", 1),
        gateway=_gateway(variables),
        timeout_seconds=timeout,
        lease_seconds=lease,
        concurrency=_whole(variables, "AI_CONCURRENCY", 6, 1, 6),
        chunk_chars=_whole(variables, "CHUNK_MAX_CHARS", 6_000, 1, limits.CHUNK_CHARS_MOST),
        input_bytes=_whole(variables, "MAX_INPUT_BYTES", limits.INPUT_BYTES_DEFAULT, 1, limits.INPUT_BYTES_MOST),
        max_attempts=_whole(variables, "MAX_ATTEMPTS", 3, 1, 20),
        patience_seconds=_number(variables, "MODEL_PATIENCE_SECONDS", 3_600, 0, limits.PATIENCE_SECONDS_MOST),
        reasks=_whole(variables, "AI_REASKS", 1, 0, 3),
        retention_days=_number(variables, "RETENTION_DAYS", 30, 0, 3_650),
        tasks_in_flight_most=_bound(variables, "MAX_TASKS_IN_FLIGHT", limits.TASKS_IN_FLIGHT_MOST),
        characters_a_day_most=_bound(variables, "MAX_CHARACTERS_PER_DAY", limits.CHARACTERS_A_DAY_MOST),
        plan=plan,
        objects_at_work_most=_optional(variables, "MAX_OBJECTS_AT_WORK", 1, limits.OBJECTS_AT_WORK_MOST),
        storage_mb_most=_whole(variables, "STORAGE_MB_MOST", limits.STORAGE_MB_MOST[plan], 1, 1_000_000),
        require_keys=_choice(variables, "REQUIRE_KEYS", ("true", "false"), "true") == "true",
        keep_input=_choice(variables, "KEEP_INPUT", ("true", "false"), "false") == "true",
        keep_names=_choice(variables, "KEEP_NAMES", ("true", "false"), "true") == "true",
        cors_origins=_parsed(variables, "CORS_ORIGINS", parse_origins, TAKES, frozenset()),
        operator_tenant=_tenant(variables),
        webhook_key=_secret(variables, "WEBHOOK_KEY", limits.WEBHOOK_KEY_CHARS_LEAST),
        webhook_loopback=_choice(variables, "WEBHOOK_LOOPBACK", ("true", "false"), "false") == "true",
        file_bytes=_whole(variables, "MAX_FILE_BYTES", limits.FILE_BYTES_DEFAULT, 1, limits.FILE_BYTES_MOST),
        files_bytes=_whole(variables, "MAX_FILES_BYTES", limits.FILES_BYTES_DEFAULT, 1, limits.FILES_BYTES_MOST),
        files_most=_whole(variables, "MAX_FILES", limits.FILES_DEFAULT, 1, limits.FILES_MOST),
        event_loop=_choice(variables, "EVENT_LOOP", EVENT_LOOPS, EVENT_LOOPS[0]),
    )


def _text(variables: Reading, name: str) -> str | None:
    value = variables(name)
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or str(value).strip() == "" else str(value).strip()


def _choice[Chosen: str](variables: Reading, name: str, choices: tuple[Chosen, ...], default: Chosen) -> Chosen:
    value = _text(variables, name) or default
    for choice in choices:
        if choice == value:
            return choice
    variables.refuse(name, f"one of {', '.join(choices)}")
    return default


def _parsed[Value](variables: Reading, name: str, parse: Callable[[str], Value], takes: str, default: Value) -> Value:
    """Read a variable with `parse`, which raises ValueError for a bad value."""
    text = _text(variables, name)
    try:
        return default if text is None else parse(text)
    except (ValueError, RecursionError):
        variables.refuse(name, takes)
        return default


def _number(variables: Reading, name: str, default: float, least: float, most: float) -> float:
    return _parsed(variables, name, _within(float, least, most), f"a number from {least:g} to {most:g}", default)


def _whole(variables: Reading, name: str, default: int, least: int, most: int) -> int:
    return _parsed(variables, name, _within(int, least, most), f"a whole number from {least} to {most}", default)


def _within[N: (int, float)](number: Callable[[str], N], least: N, most: N) -> Callable[[str], N]:
    def parse(text: str) -> N:
        value = number(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return parse


def _optional(variables: Reading, name: str, least: int, most: int) -> int | None:
    return None if _text(variables, name) is None else _whole(variables, name, least, least, most)


def _bound(variables: Reading, name: str, most: int) -> int | None:
    return _whole(variables, name, 0, 0, most) or None


def _list(variables: Reading, name: str) -> tuple[str, ...]:
    names = (part.strip() for part in (_text(variables, name) or "").split(","))
    return tuple(dict.fromkeys(one for one in names if one))


def _fields(variables: Reading, name: str, refused: frozenset[str]) -> tuple[str, ...]:
    names = _list(variables, name)
    if not all(one.isascii() and one.isidentifier() and one not in refused for one in names):
        variables.refuse(name, f"names of fields, separated by commas, none of them {', '.join(sorted(refused))}")
    return names


def _base_url(variables: Reading, provider: str) -> str | None:
    text = _text(variables, "AI_BASE_URL")
    if text is None:
        if provider == "openai":
            variables.refuse("AI_BASE_URL", "set when AI_PROVIDER is openai: a URL up to and including /v1")
        return None
    try:
        url = urlsplit(text)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and "@" not in url.netloc
    except ValueError:
        sound = False
    if not sound or url.query or url.fragment:
        takes = "an http or https URL up to and including /v1, without credentials, query or fragment"
        variables.refuse("AI_BASE_URL", takes)
    return text.rstrip("/")


def _gateway(variables: Reading) -> str | None:
    name = _text(variables, "AI_GATEWAY")
    if name is not None and not _GATEWAY_NAME.fullmatch(name):
        variables.refuse("AI_GATEWAY", "the name of an AI Gateway: up to 64 letters, digits, - and _")
    return name


def _tenant(variables: Reading) -> str:
    tenant = _text(variables, "OPERATOR_TENANT") or LOCAL
    if not is_tenant(tenant):
        variables.refuse("OPERATOR_TENANT", TENANT_TAKES)
    return tenant


def _secret(variables: Reading, name: str, least: int) -> str | None:
    text = _text(variables, name)
    if text is not None and not (text.isascii() and text.isprintable() and " " not in text and len(text) >= least):
        takes = "printable ASCII without spaces"
        why = "as it goes into a header" if least == 1 else f"at least {least} characters: `openssl rand -base64 32`"
        variables.refuse(name, f"{takes}, {why}")
    return text
