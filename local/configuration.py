"""Finds what `make dev` prints about variables before it is ready: faults, warnings, and what will run.

The host (settings.mjs) runs this module in the project's folder, at each start and each reload, and sends it the
configuration. The Worker's own parser judges the values, so there is only one list of variables and allowed values.
"""

import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.kernel.calls import openai
from src.kernel.domain.errors import ConfigurationFaults
from src.kernel.domain.settings import Reading, Settings, load
from src.kernel.domain.task import Route

from .dev_vars import SecretsFile, find

# The beginnings of variables that wrangler and Node.js read from .env themselves.
_OF_TOOLS = ("CLOUDFLARE_", "CF_", "WRANGLER_", "NODE_", "npm_")
_NO_WORKERS_AI = "openai or demo under `make dev`: workers-ai needs an account and the network"
_CLOSE = 0.7
_VERY_CLOSE = 0.85


@dataclass(frozen=True, slots=True)
class LocalConfiguration:
    """The configuration that the host has read: variables, the flags `--var`, bindings, and the state's folder.

    If the file of secrets could not be read, `unreadable` says why.
    """

    variables: Mapping[str, object]
    flags: Mapping[str, str]
    bindings: Sequence[str]
    limits: str
    persist_to: str
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """The lines for the terminal: faults, warnings and banner. If there is a fault, the Worker must not start."""

    faults: list[str]
    warnings: list[str]
    banner: list[str]


def examine(host: LocalConfiguration, file: SecretsFile | None) -> Findings:
    """Judge all variables, and return all findings at once."""
    reading = Reading(host.variables.get)
    banner = []
    with suppress(ConfigurationFaults):  # `reading` keeps the faults.
        banner = _banner(load(reading), host)
    if host.variables.get("AI_PROVIDER") == "workers-ai" and "AI" not in host.bindings:
        reading.refuse("AI_PROVIDER", _NO_WORKERS_AI)
    faults = [f"{fault}{_source(fault.variable, host, file)}" for fault in reading.faults]
    if host.unreadable is not None:
        faults.append(host.unreadable)
    elif file is not None:
        faults += file.faults()
    return Findings(faults, list(_warnings(reading.asked, host, file)), banner)


def _source(name: str, host: LocalConfiguration, file: SecretsFile | None) -> str:
    """Return where a variable's value comes from, in brackets, or an empty text if the variable is not set."""
    if name in host.flags:
        return " (--var)"
    if file is not None and name in file.names:
        return f" ({file.name})"
    return " (wrangler.toml)" if name in host.variables else ""


def _warnings(known: set[str], host: LocalConfiguration, file: SecretsFile | None) -> Iterator[str]:
    """Yield a warning for each variable that is set but that nothing reads."""
    for name in host.variables:
        if name in known or name.startswith(_OF_TOOLS):
            continue
        # A .env file may also be meant for other programs.
        is_shared = file is not None and file.is_shared and name in file.names and name not in host.flags
        cutoff = _VERY_CLOSE if is_shared else _CLOSE
        close = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=cutoff)
        if is_shared and not close:
            continue
        hint = f"; did you mean {close[0]}?" if close else ""
        yield f"nothing reads {name}{_source(name, host, file)}{hint}"
    if host.variables.get("AI_PROVIDER") == "demo":
        for name in ("AI_BASE_URL", "AI_MODEL", "AI_API_KEY"):
            if host.variables.get(name):
                what = f"{name}{_source(name, host, file)}"
                yield f"the provider demo does not use {what}; did you mean AI_PROVIDER:openai?"


def _banner(settings: Settings, host: LocalConfiguration) -> list[str]:
    """Return the banner, which has one line for each setting that people often get wrong."""
    keys = (
        "on, each request needs one: `make key`"
        if settings.require_keys
        else "off: every request belongs to tenant local"
    )
    most = (
        (settings.tasks_in_flight_most, "tasks in flight a tenant"),
        (settings.characters_a_day_most, "characters a day and tenant"),
    )
    limits = [
        f"{settings.input_bytes:,} bytes of input",
        f"{settings.chunk_chars:,} characters a chunk",
        f"{settings.concurrency} calls at a time",
        f"{settings.timeout_seconds:g} s a call",
        *(f"{value:,} {what}" for value, what in most if value is not None),
        "invocations not metered" if host.limits == "off" else f"invocations as on the {host.limits} plan",
    ]
    return [
        f"provider  {_provider(settings)}",
        f"route     {_route(host.bindings).value}",
        f"keys      {keys}",
        f"state     {host.persist_to}",
        f"limits    {', '.join(limits)}",
    ]


def _provider(settings: Settings) -> str:
    if settings.provider == "demo":
        return "demo, built in: no model, no network"
    return f"{settings.provider}, model {settings.model or openai.DEFAULT_MODEL} at {settings.base_url}"


def _route(bindings: Sequence[str]) -> Route:
    """Return the route that `composition` chooses for a new task with the given bindings."""
    if "AI_QUEUE" in bindings:
        return Route.QUEUE
    return Route.DURABLE_OBJECT if "AI_PROCESSOR" in bindings else Route.DIRECT


def main() -> int:
    """Read the configuration that the host sends, and answer with the findings."""
    told: dict[str, Any] = json.load(sys.stdin)
    env = told.pop("env")
    found = examine(LocalConfiguration(**told), find(Path(), env))
    json.dump({"faults": found.faults, "warnings": found.warnings, "banner": found.banner}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
