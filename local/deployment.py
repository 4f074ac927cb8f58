"""The commands `make bundle`, `make deploy` and `make secrets`, and `version` and `rollback` for the workflow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from .arguments import Parser, UsageError, fail, refuse_unknown, stopped
from .node import ROOT, NodeMissing, wrangler
from .remote.account import live_version, needs
from .remote.cloud import StepFailed, need, report, run
from .remote.deploy import Shape, deploy
from .remote.deploy_check import WEB, doctor, doctor_command, prove, trial_offer
from .remote.secret_values import set_secrets

_TOTAL = re.compile(r"Total Upload: .*gzip: ([\d.]+) KiB")
_ENVIRONMENT = {"WRANGLER_SEND_METRICS": "false"}


def bundle(env: str, arguments: Sequence[str]) -> int:
    """Build into .build/ exactly what a deployment uploads, and print the gzipped size."""
    refuse_unknown(Parser(prog="make bundle"), arguments)
    folder = ROOT / ".build" / f"bundle-{env or 'top'}"
    shutil.rmtree(folder, ignore_errors=True)  # wrangler leaves the modules of an earlier build in it
    command = wrangler("deploy", "--dry-run", "--outdir", str(folder), needs(ROOT, env).flag)
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
        raise UsageError("wrangler did not report the size of the upload")
    print(f"Built {folder.relative_to(ROOT)}")
    print(f"gzip: {round(float(total[1]))} KiB")
    return 0


def deploy_command(env: str, arguments: Sequence[str]) -> int:
    """Create what the account lacks, apply the migrations, deploy the Worker, and check the deployment."""
    parser = Parser(
        prog="make deploy",
        usage='make deploy [ENV=free|direct] [ARGS="--dry-run --replace"]',
        description="Create what the account lacks, migrate, deploy, verify. You can stop and repeat it at any point.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the account, print the plan, build the upload, change nothing"
    )
    parser.add_argument(
        "--replace", action="store_true", help="replace a Worker of this name although its database does not exist"
    )
    found, unknown = parser.parse_known_args(arguments)
    refuse_unknown(parser, unknown)
    url = deploy(run, WEB, needs(ROOT, env), Shape(found.dry_run, found.replace))
    if url is not None:
        key = f'make key ARGS="--remote{f" --env {env}" if env else ""}"'
        print(f"An API key for it: {key}. A key for the model's server: `make secrets`.")
        if doctor(url, env):
            print(f"doctor has findings; the deployment runs. `{doctor_command(url, env)}` repeats the check.")
        for line in trial_offer(url, env):
            print(line)
        return prove(url)
    return 0


def secrets_command(env: str, arguments: Sequence[str]) -> int:
    """Set the secrets of the deployed Worker."""
    return set_secrets(run, needs(ROOT, env), arguments)


def version(env: str, arguments: Sequence[str]) -> int:
    """Print the id of the deployed version that runs, or an empty line if there is none."""
    refuse_unknown(Parser(prog="version"), arguments)
    print(live_version(run, needs(ROOT, env)) or "")
    return 0


def rollback(env: str, arguments: Sequence[str]) -> int:
    """Deploy an earlier version again if another one runs. Does nothing if no version is named."""
    wanted = needs(ROOT, env)
    if not arguments or not arguments[0]:
        print("There is no earlier version: this was the first deployment.")
        return 0
    (before,) = arguments
    if live_version(run, wanted) == before:
        print(f"Version {before} still runs, so there is nothing to roll back.")
        return 0
    print(f"Rolling back to version {before}. The database stays unchanged: migrations only add.")
    need(run("rollback", before, "--yes", "--message", "the deployment failed", wanted.flag), "Rolling back")
    return 0


_COMMANDS = {
    "bundle": bundle,
    "deploy": deploy_command,
    "secrets": secrets_command,
    "version": version,
    "rollback": rollback,
}


def main(arguments: Sequence[str]) -> int:
    """Run `COMMAND [--env NAME] [flags]`. The environment's name may also stand without `--env`."""
    name, *rest = arguments
    env = ""
    if rest and not rest[0].startswith("-"):
        env, *rest = rest
    elif rest and rest[0].startswith("--env="):
        env, rest = rest[0].removeprefix("--env="), rest[1:]
    try:
        return _COMMANDS[name](env, rest)
    except StepFailed as failed:
        report(failed)
        return 1
    except (KeyboardInterrupt, EOFError):
        return stopped()
    except (UsageError, NodeMissing) as error:
        fail(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
