"""`make secrets`: sets the secrets of a deployment, from the terminal or from a file.

`make secrets` prints no value and puts none on a command line, where other users of the machine could read it.
"""

import argparse
import getpass
import json
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.kernel.domain.errors import ConfigurationFaults
from src.kernel.domain.settings import Reading, load

from ..arguments import Parser, UsageError, refuse_unknown
from ..dev_vars import SecretsFile, assignments
from .account import Needs
from .cloud import Cloud, StepFailed, need
from .fixes import fix_for

# The variables of the Worker that are secrets, each with its meaning. Variables that are no secrets belong in `vars` of
# wrangler.toml.
SECRETS = {
    "AI_API_KEY": "the key for the model's server, for AI_PROVIDER openai",
    "WEBHOOK_KEY": "the key from which webhooks' signing secrets are derived; at least 32 random characters",
}
# Secrets of a deployment itself, for which a new value can be made up. The other secrets are keys for other servers.
OWN = ("WEBHOOK_KEY",)
_GENERATED_BYTES = 32
_ROTATED = """\
Every webhook endpoint now has a new signing secret, and its receiver refuses messages. For each endpoint, run:
    onceover webhooks rotate ID    (`onceover webhooks list` has the ids; without --keep-old, which cannot help here)
Put the printed secret where the receiver runs. Refused deliveries are repeated for a day."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in a command line of `make secrets`. Raises `UsageError`. Exits on `--help`."""
    parser = Parser(
        prog="make secrets",
        usage='make secrets [ENV=free|direct] [ARGS="--file .dev.vars | --generate NAME | --rotate NAME"]',
        description="Set the secrets of the deployed Worker. Without flags it asks for each; nothing here stores it.",
        allow_abbrev=False,
    )
    parser.add_argument("--file", metavar="FILE", help="take them from a file of NAME=value lines; - is standard input")
    parser.add_argument(
        "--generate", metavar="NAME", choices=sorted(SECRETS), help="set one to random characters, which are not shown"
    )
    parser.add_argument(
        "--rotate", metavar="NAME", choices=OWN, help="replace one that is set with other random characters"
    )
    found, unknown = parser.parse_known_args(arguments)
    refuse_unknown(parser, unknown)
    ways = [f"--{name}" for name in ("file", "generate", "rotate") if getattr(found, name)]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} cannot be combined; use one of them")
    return found


def refused(values: Mapping[str, str]) -> list[str]:
    """Return a message for each variable whose value the Worker would refuse. No message contains a secret's value."""
    reading = Reading(values.get)
    try:
        load(reading)
    except ConfigurationFaults:
        return [str(fault) for fault in reading.faults if fault.variable in values]
    return []


def from_file(name: str) -> dict[str, str]:
    """Return the secrets that a file of variables sets, and print which variables are no secrets.

    Raises `UsageError` if the file of secrets cannot be read.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    file = SecretsFile(name, text.replace("\r\n", "\n"))
    if faults := file.faults():
        raise UsageError("; ".join(faults))
    found = assignments(file.text)
    for other in sorted(found.keys() - SECRETS.keys()):
        print(f"{other} is not a secret and is ignored: a deployment's variables are in wrangler.toml, in `vars`")
    return {name: value for name, value in found.items() if name in SECRETS and value}


def from_terminal(present: set[str]) -> dict[str, str]:
    """Ask for each secret on the terminal, which does not show what is typed, and return the values."""
    found = {}
    for name, meaning in SECRETS.items():
        state = "set; empty keeps it" if name in present else "not set; empty leaves it so"
        if value := getpass.getpass(f"{name}, {meaning} ({state}): ").strip():
            found[name] = value
    return found


def put(cloud: Cloud, wanted: Needs, values: Mapping[str, str]) -> None:
    """Set secrets, with one call of wrangler for each. Raises `StepFailed`.

    The calls of wrangler can be repeated safely, because the same name gets the same value.
    """
    for number, (name, value) in enumerate(values.items(), 1):
        print(f"[{number}/{len(values)}] Setting {name}: npx wrangler secret put {name} {wanted.flag}", flush=True)
        answer = cloud("secret", "put", name, wanted.flag, told=value)
        if answer.status != 0:
            # wrangler's output should not contain the value, but any value in it is removed.
            raise StepFailed(
                f"Setting {name} failed. wrangler said:\n{answer.said.replace(value, '…').strip()}",
                fix_for(answer.said),
            )


def set_secrets(cloud: Cloud, wanted: Needs, arguments: Sequence[str]) -> int:
    """Find which secrets exist, get values, and set them. Raises `StepFailed`, `UsageError`."""
    asked = options(arguments)
    if not (asked.file or asked.generate or asked.rotate or sys.stdin.isatty()):
        raise UsageError('there is no terminal to ask; pass `ARGS="--file FILE"`, or `--file -` for standard input')
    values = from_file(asked.file) if asked.file else {}
    listed = need(cloud("secret", "list", wanted.flag), "Listing the secrets")
    present = {str(one["name"]) for one in json.loads(listed.out[listed.out.index("[") :])}
    if asked.generate in present:
        raise UsageError(
            f"{asked.generate} is already set, and a new value would invalidate what the old one signs; "
            f"--rotate {asked.generate} replaces it"
            if asked.generate in OWN
            else f"{asked.generate} is already set; `make secrets` asks for another value"
        )
    if asked.rotate and asked.rotate not in present:
        raise UsageError(f"{asked.rotate} is not set, so there is none to replace: --generate {asked.rotate} sets it")
    if made := asked.generate or asked.rotate:
        values = {made: secrets.token_urlsafe(_GENERATED_BYTES)}
    elif not asked.file:
        values = from_terminal(present)
    if faults := refused(values):
        raise UsageError(f"nothing was set, because the Worker would refuse every request: {'; '.join(faults)}")
    put(cloud, wanted, values)
    names = ", ".join(sorted(present | set(values))) or "none"
    print(f"Secrets of {wanted.worker}: {names}. They take effect at once, without a deployment.")
    if asked.rotate:
        print(_ROTATED)
    return 0
