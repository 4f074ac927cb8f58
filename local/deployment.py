"""`make bundle` and `make deploy`: wrangler, with a Node.js that it accepts."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

from .arguments import UsageError, environments, fail
from .node import ROOT, NodeMissing, wrangler

_PLACEHOLDER_DATABASE = "00000000-0000-0000-0000-000000000000"
_TOTAL = re.compile(r"Total Upload: .*gzip: ([\d.]+) KiB")
_ENVIRONMENT = {"WRANGLER_SEND_METRICS": "false"}
LOGIN_HINT = "If it says that you are not logged in: run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN."


def _flags(env: str) -> list[str]:
    """wrangler asks which environment is meant once there are several: an empty name is the top level."""
    known = environments(ROOT / "wrangler.toml")
    if env and env not in known:
        raise UsageError(f"unknown ENV={env}; there are {', '.join(known)} (leave it out for the top level)")
    return ["--env", env]


def bundle(env: str) -> int:
    """Build exactly what a deployment uploads into .build/, and print its gzipped size."""
    folder = ROOT / ".build" / f"bundle-{env or 'top'}"
    command = wrangler("deploy", "--dry-run", "--outdir", str(folder), *_flags(env))
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **_ENVIRONMENT, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout.strip())
    if done.returncode != 0:
        return done.returncode
    total = _TOTAL.search(done.stdout)
    if total is None:
        raise UsageError("wrangler did not say how large the upload is")
    print(f"Built {folder.relative_to(ROOT)}")
    print(f"gzip: {round(float(total[1]))} KiB")
    return 0


def check_database() -> None:
    """Raise `UsageError` while wrangler.toml does not say which database of the account is meant."""
    if _PLACEHOLDER_DATABASE in (ROOT / "wrangler.toml").read_text("utf-8"):
        create = "npx wrangler d1 create onceover"
        raise UsageError(f"wrangler.toml has no database_id yet: `{create}` prints the one to put in")


def deploy(env: str) -> int:
    """Apply the migrations to the account's database, then deploy. Stops at the first step that fails."""
    flags = _flags(env)
    check_database()
    steps = (
        ("Applying the migrations", wrangler("d1", "migrations", "apply", "DB", "--remote", *flags)),
        ("Deploying", wrangler("deploy", *flags)),
    )
    for label, command in steps:
        print(f"{label} …", flush=True)
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, **_ENVIRONMENT}, check=False).returncode
        if status != 0:
            print(f"error: wrangler failed. {LOGIN_HINT}", file=sys.stderr)
            return status
    return 0


def main(arguments: Sequence[str]) -> int:
    """`bundle [ENV]` or `deploy [ENV]`."""
    action = {"bundle": bundle, "deploy": deploy}[arguments[0]]
    try:
        return action(arguments[1] if len(arguments) > 1 else "")
    except (UsageError, NodeMissing) as error:
        fail(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
