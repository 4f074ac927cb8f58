"""Parses the command line of `make key`."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.kernel.domain import limits
from src.kernel.domain.ids import LOCAL, is_tenant
from src.kernel.domain.keys import OWN_SCOPES, Scope

from .arguments import DEFAULT_STATE, Parser, UsageError, check_environment, refuse_unknown

_SPAN = re.compile(r"([0-9]{1,10}(?:\.[0-9]{1,6})?)([smhd]?)")
_UNITS_MS = {"": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LEAST_MS, _MOST_MS = 60_000, limits.KEY_SECONDS_MOST * 1_000


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The options of `make key`.

    `valid_ms` is None for a key without expiry, `persist_to` for a deployment's database.
    """

    tenant: str
    scopes: frozenset[Scope]
    label: str | None
    valid_ms: int | None
    env: str | None
    persist_to: Path | None


def _tenant(text: str) -> str:
    if not is_tenant(text):
        raise argparse.ArgumentTypeError(
            f"must be 1 to 63 lower-case letters, digits and dashes, no dash at the start, not {text!r}"
        )
    return text


def _scopes(text: str) -> frozenset[Scope]:
    names = text.split(",")
    for name in names:
        if name not in Scope:
            raise argparse.ArgumentTypeError(f"must be some of {','.join(Scope)}; {name!r} is not one of them")
    scopes = frozenset(Scope(name) for name in names)
    if Scope.OPERATOR in scopes and not scopes & {Scope.READ, Scope.WRITE}:
        raise argparse.ArgumentTypeError(
            "operator extends read and write to other tenants, but grants neither: add read, write, or both"
        )
    return scopes


def _label(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= limits.KEY_LABEL_CHARS_MOST:
        raise argparse.ArgumentTypeError(f"must be 1 to {limits.KEY_LABEL_CHARS_MOST} printable characters")
    return text


def _valid_ms(text: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None or not _LEAST_MS <= (span := round(float(match[1]) * _UNITS_MS[match[2]])) <= _MOST_MS:
        most = _MOST_MS // _UNITS_MS["d"]
        raise argparse.ArgumentTypeError(f"must be like 10m, 2h, 90d, from 60s to {most}d, not {text!r}")
    return span


def _parser() -> Parser:
    parser = Parser(
        prog="make key",
        usage='make key [ARGS="--tenant NAME --scopes read,write …"]',
        description="Make an API key and show it once; the database stores only its digest.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--tenant", type=_tenant, default=LOCAL, metavar="NAME", help=f"the key's tenant; default {LOCAL}"
    )
    parser.add_argument(
        "--scopes",
        type=_scopes,
        default=frozenset(OWN_SCOPES),
        metavar="LIST",
        help=f"its scopes, separated by commas; default {','.join(OWN_SCOPES)}; operator extends read and write to "
        "all tenants",
    )
    parser.add_argument("--label", type=_label, metavar="TEXT", help="its purpose; shown in GET /api/keys")
    parser.add_argument(
        "--expires-in", type=_valid_ms, metavar="TIME", help="how long it is valid, like 90d; default: until deleted"
    )
    parser.add_argument(
        "--persist-to",
        type=Path,
        metavar="DIR",
        help=f"the local state that `make dev` uses, default {DEFAULT_STATE}; `make dev` may be running",
    )
    parser.add_argument(
        "--remote", action="store_true", help="a key for the deployed Worker, in the account's database"
    )
    parser.add_argument("--env", metavar="NAME", help="an environment of wrangler.toml; left out = the top level")
    return parser


def parse(arguments: Sequence[str], root: Path) -> KeyOptions:
    """Return the options in a command line of `make key`. Raises `UsageError`. Exits on `--help`."""
    parser = _parser()
    found, unknown = parser.parse_known_args(arguments)
    refuse_unknown(parser, unknown)
    check_environment(found.env, root)
    if found.remote and found.persist_to is not None:
        raise UsageError("--persist-to is for local state, --remote for a deployment; use one of them")
    return KeyOptions(
        tenant=found.tenant,
        scopes=found.scopes,
        label=found.label,
        valid_ms=found.expires_in,
        env=found.env or None,
        persist_to=None if found.remote else (root / (found.persist_to or DEFAULT_STATE)).resolve(),
    )
