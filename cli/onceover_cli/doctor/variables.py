"""Finds variables of an environment whose values cannot work. No message shows a variable's value."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Final

from .findings import Check, fault, ok, warning

# The variables that are secrets, and the fewest characters of each.
SECRETS: Final = {"AI_API_KEY": 1, "WEBHOOK_KEY": 32}
# Every variable that the Worker reads. A test compares `KNOWN` with the variables in the Worker's code.
KNOWN: Final = frozenset(
    {
        *SECRETS,
        "AI_BASE_URL",
        "AI_BATCH_FIELDS",
        "AI_CONCURRENCY",
        "AI_GATEWAY",
        "AI_MAX_OUTPUT_TOKENS",
        "AI_MODEL",
        "AI_MODELS",
        "AI_MODEL_OPTIONS",
        "AI_PROVIDER",
        "AI_REASKS",
        "AI_TIMEOUT_SECONDS",
        "CHUNK_MAX_CHARS",
        "CORS_ORIGINS",
        "EVENT_LOOP",
        "KEEP_INPUT",
        "KEEP_NAMES",
        "LEASE_SECONDS",
        "MAX_ATTEMPTS",
        "MAX_CHARACTERS_PER_DAY",
        "MAX_FILES",
        "MAX_FILES_BYTES",
        "MAX_FILE_BYTES",
        "MAX_INPUT_BYTES",
        "MAX_OBJECTS_AT_WORK",
        "MAX_TASKS_IN_FLIGHT",
        "MODEL_PATIENCE_SECONDS",
        "OPERATOR_TENANT",
        "PLAN",
        "PRICES",
        "REQUIRE_KEYS",
        "RETENTION_DAYS",
        "STORAGE_MB_MOST",
        "STRUCTURED_OUTPUT",
        "WEBHOOK_LOOPBACK",
    }
)
_CHOICES: Final = {
    "AI_PROVIDER": ("workers-ai", "openai", "demo"),
    "PLAN": ("free", "paid"),
    "STRUCTURED_OUTPUT": ("native", "prompt", "both"),
    "REQUIRE_KEYS": ("true", "false"),
    "KEEP_INPUT": ("true", "false"),
    "KEEP_NAMES": ("true", "false"),
}
_NUMBERS: Final = {
    "AI_TIMEOUT_SECONDS": (0.1, 600),
    "LEASE_SECONDS": (0.2, 3_600),
    "AI_CONCURRENCY": (1, 6),
    "AI_REASKS": (0, 3),
    "MAX_ATTEMPTS": (1, 20),
    "MODEL_PATIENCE_SECONDS": (0, 86_400),
    "RETENTION_DAYS": (0, 3_650),
}
_GATEWAY: Final = re.compile(
    r"(?i)https://(?:gateway\.ai\.cloudflare\.com|api\.cloudflare\.com/client/v4/accounts/[^/?#]+/ai/v1)(?:/|\Z)"
)
_LOCAL: Final = ("CLOUDFLARE_", "CF_", "WRANGLER_", "NODE_", "npm_")


def variables(
    given: Mapping[str, object],
    where: str,
    *,
    has_ai: bool = True,
    is_secret: bool = False,
    below: Mapping[str, object] | None = None,
) -> Iterator[Check]:
    """Judge variables. `is_secret` says that the variables are in .dev.vars, which is not deployed.

    `below` are variables of wrangler.toml, which count if `given` does not set them. A fault of variables in `below`
    alone is not reported here.
    """
    found = list(_complaints(given, where, is_secret=is_secret))
    found += _together(given, below or {}, where, has_ai=has_ai, is_secret=is_secret)
    if found or given:
        yield from found or [ok("variables", f"{where}: {len(given)} set, all of them in use")]


def _complaints(given: Mapping[str, object], where: str, *, is_secret: bool) -> Iterator[Check]:
    for name, value in given.items():
        if name not in KNOWN and not name.startswith(_LOCAL):
            close = difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.7)
            fix = f"did you mean {close[0]}?" if close else f"remove {name}"
            yield warning("variables", f"{where}: nothing reads {name}", fix)
        elif name in SECRETS and not is_secret and str(value).strip():
            fix = (
                "remove it from wrangler.toml, make a new one (git keeps the old one), then npx wrangler secret "
                f"put {name}"
            )
            yield fault("secrets", f"{where}: {name} is in wrangler.toml, where everyone can read it", fix)
        else:
            yield from _value(
                name, str(value).strip().lower() if isinstance(value, bool) else str(value).strip(), where
            )


def _value(name: str, value: str, where: str) -> Iterator[Check]:
    if not value:
        return
    if name in _CHOICES and value not in _CHOICES[name]:
        takes = ", ".join(_CHOICES[name])
        yield fault("variables", f"{where}: {name} has an invalid value", f"one of {takes}")
    if name in SECRETS and not (
        value.isascii() and value.isprintable() and " " not in value and len(value) >= SECRETS[name]
    ):
        takes = f"printable ASCII without spaces, {SECRETS[name]} characters at least"
        yield fault("variables", f"{where}: {name} has an invalid value", takes)
    if name in _NUMBERS:
        least, most = _NUMBERS[name]
        try:
            is_sound = least <= float(value) <= most
        except ValueError:
            is_sound = False
        if not is_sound:
            yield fault(
                "variables",
                f"{where}: {name} has an invalid value",
                f"a number from {least:g} to {most:g}",
            )


def _together(
    given: Mapping[str, object], below: Mapping[str, object], where: str, *, has_ai: bool, is_secret: bool
) -> Iterator[Check]:
    """Judge variables whose values depend on each other, if `given` sets at least one of them."""
    whole = {**below, **given}
    # If .dev.vars sets no provider, `make dev` uses a provider of its own, and not the one of wrangler.toml.
    provider = str(given.get("AI_PROVIDER", "" if is_secret else "workers-ai")).strip()
    if provider == "openai" and not str(whole.get("AI_BASE_URL", "")).strip():
        yield fault(
            "variables",
            f"{where}: AI_PROVIDER is openai, and AI_BASE_URL is not set",
            'AI_BASE_URL = "https://api.openai.com/v1"',
        )
    if provider == "workers-ai" and not has_ai:
        yield fault("ai", f"{where}: AI binding is missing; AI_PROVIDER workers-ai needs it", '[ai] binding = "AI"')
    if provider == "workers-ai" and is_secret:
        yield fault(
            "variables",
            f"{where}: workers-ai needs an account and the network",
            "AI_PROVIDER=openai, or demo, under make dev",
        )
    has_gateway = provider == "workers-ai" and bool(str(given.get("AI_GATEWAY", "")).strip())
    if has_gateway or (provider == "openai" and _GATEWAY.match(str(whole.get("AI_BASE_URL", "")).strip())):
        yield warning(
            "gateway",
            f"{where}: calls go through Cloudflare's AI Gateway. Its own retries would be calls outside the bill. Each "
            "call asks for one attempt, but what the gateway does cannot be seen from here",
            "turn off Retry Requests in the gateway's settings, and retries in the dynamic route if AI_MODEL names one",
        )
    try:
        lease, timeout = float(str(whole.get("LEASE_SECONDS", 180))), float(str(whole.get("AI_TIMEOUT_SECONDS", 120)))
    except ValueError:
        return
    if lease <= timeout and (not is_secret or given.keys() & {"LEASE_SECONDS", "AI_TIMEOUT_SECONDS"}):
        yield fault(
            "variables",
            f"{where}: LEASE_SECONDS is not above AI_TIMEOUT_SECONDS",
            "LEASE_SECONDS higher, or AI_TIMEOUT_SECONDS lower",
        )
    if not is_secret and str(given.get("REQUIRE_KEYS", "true")).lower() == "false":
        yield fault(
            "keys",
            f"{where}: REQUIRE_KEYS is false, so a deployment answers anyone",
            "remove REQUIRE_KEYS from wrangler.toml",
        )
