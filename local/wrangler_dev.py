"""Tests that a clone does a task under `wrangler dev`, on Cloudflare's own workerd and Pyodide, for CI.

The workflow `deploy` runs this program. The run needs a network, since workerd fetches its Pyodide bundle from
Cloudflare. The test of a clone under `wrangler dev` needs no account and no login.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .arguments import Parser, UsageError, fail
from .node import ROOT, NodeMissing, wrangler
from .remote.account import Needs, needs
from .remote.deploy_check import get, status_fault

# The first start of `wrangler dev` is slow, because it downloads the bundle and imports the Worker without a snapshot.
READY_SECONDS_MOST = 300.0
TASK_SECONDS_MOST = 300.0
_PAUSE_SECONDS = 0.5
_END_SECONDS = 15.0
TEXT = "examples/english.txt"
# The tried commands are those of docs/guide.md, with `--local`, because the binding of Workers AI would require a
# login.
MIGRATE = ("d1", "migrations", "apply", "DB", "--local")
SERVE = ("dev", "--local", "--var", "AI_PROVIDER:demo", "--var", "REQUIRE_KEYS:false")
_ENVIRONMENT = {"WRANGLER_SEND_METRICS": "false", "CI": "1"}

type Wrangler = Callable[..., list[str]]


class NotDone(Exception):
    """Raised when the clone does no task. The message of `NotDone` says at which step the test stopped."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(wanted: Needs, state: Path, port: int, program: Wrangler) -> Iterator[subprocess.Popen[bytes]]:
    """Apply the migrations and run `wrangler dev` until the `with` block ends. Raises `NotDone`."""
    where = ("--persist-to", str(state), wanted.flag)
    environ = {**os.environ, **_ENVIRONMENT}
    applied = subprocess.run(program(*MIGRATE, *where), cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, check=False)
    if applied.returncode != 0:
        raise NotDone("the migrations could not be applied")
    process = subprocess.Popen(
        program(*SERVE, "--port", str(port), "--inspector-port", "0", *where),
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group of `wrangler dev`: by SIGINT, so that wrangler ends its workerd, and then by SIGKILL."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def wait_until_ready(process: subprocess.Popen[bytes], url: str, wanted: Needs) -> float:
    """Wait until the server answers as its environment should, and return how many seconds it took.

    Raises `NotDone`.
    """
    began = time.monotonic()
    while True:
        fault = status_fault(get(f"{url}/api/async-status"), wanted)
        if fault is None:
            return time.monotonic() - began
        if process.poll() is not None:
            raise NotDone(f"`wrangler dev` ended with status {process.returncode}")
        if time.monotonic() - began > READY_SECONDS_MOST:
            raise NotDone(f"no good answer within {READY_SECONDS_MOST:.0f} s: {fault}")
        time.sleep(_PAUSE_SECONDS)


def do_task(url: str) -> None:
    """Run the command line `onceover run` on an example text. Raises `NotDone` if its task does not complete."""
    command = [sys.executable, "-m", "onceover_cli", "run", TEXT, "--url", url]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=TASK_SECONDS_MOST, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotDone(f"the task had not ended after {TASK_SECONDS_MOST:.0f} s") from None
    if done.returncode != 0 or not done.stdout.strip():
        raise NotDone(f"`onceover run` ended with status {done.returncode} and {len(done.stdout)} bytes of output")


def try_out(env: str, program: Wrangler = wrangler) -> None:
    """Start `wrangler dev` with an environment and an empty state, and do a task in it.

    Raises `NotDone`, `NodeMissing`, `UsageError`.
    """
    wanted = needs(ROOT, env)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="onceover-") as state,
        served(wanted, Path(state), port, program) as process,
    ):
        seconds = wait_until_ready(process, url, wanted)
        print(f"{env or 'top'}: answers after {seconds:.1f} s", flush=True)
        do_task(url)
    print(f"{env or 'top'}: a task was done under `wrangler dev`", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Try the named environments, by default all three. Returns the exit status."""
    parser = Parser(prog="python -m local.wrangler_dev", description=__doc__, allow_abbrev=False)
    parser.add_argument("env", nargs=argparse.ZERO_OR_MORE, metavar="top|free|direct", help="all three unless named")
    try:
        for env in parser.parse_args(arguments).env or ["top", "free", "direct"]:
            try_out("" if env == "top" else env)
    except NotDone as error:
        print(f"error: {env}: {error}", file=sys.stderr)
        return 1
    except (UsageError, NodeMissing) as error:
        fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
