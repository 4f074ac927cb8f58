"""Parses the command line of `make dev`, with errors of one line that say what to do instead."""

import argparse
import difflib
import math
import os
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

DEFAULT_PORT = 8787
DEFAULT_STATE = ".wrangler/state"
CLOCKS = ("moving", "standing")
CLOCK_VARIABLE = "ONCEOVER_LOCAL_CLOCK"  # The tests set this environment variable in place of the flag `--clock`.
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class UsageError(Exception):
    """Raised when a command cannot run with its arguments. The message of a `UsageError` is one line for the user."""


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The options of `make dev`.

    If `env` is None, the top level runs. If `cron_every_seconds` is None, cron fires by its schedule. If `limits` is
    None, the environment's default applies.
    """

    project: Path
    port: int
    env: str | None
    persist_to: Path
    variables: dict[str, str]
    cron_every_seconds: float | None
    limits: str | None = None
    clock: str = CLOCKS[0]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError`."""

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing the usage and exiting."""
        raise UsageError(message.removeprefix("argument "))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 (any free port) to 65535, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and 0.01 <= seconds <= 86_400):
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0.01 to 86400, not {text!r}")
    return seconds


def _variable(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"must be KEY:VALUE, and {text!r} has no colon")
    if not _VARIABLE_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"must be KEY:VALUE, and {name!r} is not a variable's name")
    return name, value


def _default_clock() -> str:
    wanted = os.environ.get(CLOCK_VARIABLE) or CLOCKS[0]
    if wanted not in CLOCKS:
        raise UsageError(f"{CLOCK_VARIABLE} must be {' or '.join(CLOCKS)}, not {wanted!r}")
    return wanted


def _parser() -> Parser:
    parser = Parser(
        prog="make dev",
        usage='make dev [ARGS="--port N --env NAME …"]',
        description="Serve the Worker on the real runtime, with local D1, Queues and Durable Objects.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        metavar="N",
        help=f"default {DEFAULT_PORT}; 0 takes any free one",
    )
    parser.add_argument(
        "--env",
        metavar="NAME",
        help="an environment of wrangler.toml: left out = Queues + Durable Objects; "
        "free = Durable Objects, no Queues; direct = neither",
    )
    parser.add_argument(
        "--persist-to",
        type=Path,
        default=Path(DEFAULT_STATE),
        metavar="DIR",
        help=f"where local state lives, default {DEFAULT_STATE}",
    )
    parser.add_argument(
        "--var",
        type=_variable,
        action="append",
        default=[],
        metavar="KEY:VALUE",
        help="overrides one variable of wrangler.toml and .dev.vars; may be repeated",
    )
    parser.add_argument(
        "--cron-every",
        type=_seconds,
        metavar="SECONDS",
        help="fires the cron triggers at this interval instead of on their schedule",
    )
    parser.add_argument(
        "--limits",
        choices=("free", "paid", "off"),
        help="meter each invocation and enforce the limits of this plan; default: free in --env free, else off",
    )
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default=_default_clock(),
        help="moving (the default), or standing: it stands still while code runs, as Cloudflare's clock does",
    )
    # The tests of the runtime use this flag for another folder with wrangler.toml, src/ and migrations/.
    parser.add_argument("--project", type=Path, help=argparse.SUPPRESS)
    return parser


def environments(wrangler_toml: Path) -> list[str]:
    """Return the names of the environments in a wrangler.toml."""
    try:
        return sorted(tomllib.loads(wrangler_toml.read_text("utf-8")).get("env", {}))
    except FileNotFoundError:
        raise UsageError(f"there is no {wrangler_toml}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{wrangler_toml} is not valid TOML: {error}") from None


def check_environment(env: str | None, project: Path) -> None:
    """Raise `UsageError` if the project's wrangler.toml has no such environment."""
    known = environments(project / "wrangler.toml")
    if env and env not in known:
        raise UsageError(
            f"unknown --env {env}; there are {', '.join(known) or 'none'} (leave it out for the top level)"
        )


def refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """Raise `UsageError` for the first unknown word of a command line; the message names the closest flag."""
    known = [flag for action in parser._actions for flag in action.option_strings if flag != "--project"]  # noqa: SLF001 - argparse has no public list
    for word in unknown:
        flag = word.partition("=")[0]
        close = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
        what = "unknown flag" if flag.startswith("-") else "unexpected argument"
        raise UsageError(f"{what} {flag}; {hint}")


def parse(arguments: Sequence[str], root: Path) -> DevOptions:
    """Return the options in a command line of `make dev`. Raises `UsageError`. Exits on `--help`."""
    parser = _parser()
    found, unknown = parser.parse_known_args(arguments)
    refuse_unknown(parser, unknown)
    project = (found.project or root).resolve()
    check_environment(found.env, project)
    return DevOptions(
        project=project,
        port=found.port,
        env=found.env or None,
        persist_to=(project / found.persist_to).resolve(),
        variables=dict(found.var),
        cron_every_seconds=found.cron_every,
        limits=found.limits,
        clock=found.clock,
    )


def stopped() -> int:
    """Print that Ctrl-C or Ctrl-D ended the command, and how to continue. Returns the exit status."""
    print("\nStopped. Run the same command again to continue.", file=sys.stderr)
    return 130


def fail(message: str) -> NoReturn:
    """Print an error of one line, and exit with status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
