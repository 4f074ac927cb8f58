"""`make dev`: serve the Worker on the real runtime until Ctrl-C.

host.mjs does the work under Node.js. The standard input of host.mjs is a pipe from this process. However this process
ends, the pipe closes and the host stops.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from .arguments import DevOptions, UsageError, fail, parse
from .lock import sole_use
from .node import ROOT, NodeMissing, find_node
from .orphans import adopt_orphans, end_children
from .remote.former_state import refuse_former_state
from .residue import clear_residue

_STOP_SECONDS = 5


def _check_port(port: int) -> None:
    """Raise `UsageError` if another program uses the port. The host checks the port again when it begins to listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            raise UsageError(f"port {port} is taken; choose another with --port") from None


def _request(options: DevOptions) -> bytes:
    request = {
        "root": str(ROOT),
        "python": sys.executable,
        "project": str(options.project),
        "env": options.env,
        "port": options.port,
        "persistTo": str(options.persist_to),
        "variables": options.variables,
        "cronEverySeconds": options.cron_every_seconds,
        "limits": options.limits,
        "clock": options.clock,
    }
    return json.dumps(request).encode() + b"\n"


def serve(options: DevOptions, lock: int) -> int:
    """Run the host until it ends or a signal stops it. The host inherits `lock`. Returns the exit status."""
    command = [str(find_node()), "--disable-warning=ExperimentalWarning", str(ROOT / "local" / "runtime" / "host.mjs")]
    clear_residue(options.persist_to)  # A runtime that was killed could not clear its residue.
    adopt_orphans()
    reading, writing = os.pipe()
    # Node.js's compile cache saves a fifth of its start-up time.
    compiled = {"NODE_COMPILE_CACHE": str(ROOT / ".build" / "node")}
    host = subprocess.Popen(
        command, stdin=reading, cwd=options.project, pass_fds=(lock,), env={**compiled, **os.environ}
    )
    os.close(reading)
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            host.kill()
            return
        stopping = True
        signal.alarm(_STOP_SECONDS)
        os.close(writing)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGALRM, lambda *_: host.kill())
    os.write(writing, _request(options))
    status = host.wait()
    end_children()  # If Node.js was killed, workerd is still running.
    clear_residue(options.persist_to)
    if stopping:
        _say_stopped(options)
        return 0
    if status < 0:
        print(f"error: the runtime was killed by signal {-status}", file=sys.stderr)
    return abs(status)


def _say_stopped(options: DevOptions) -> None:
    """Print the last line, which says where the state stays. If the output's reader is gone, this is no error."""
    try:
        where = options.persist_to.relative_to(options.project)
    except ValueError:
        where = options.persist_to
    with suppress(OSError):
        os.write(1, f"Stopped. The state stays in {where}, and the next start continues from there.\n".encode())


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, check the port and the state folder, and serve. Returns the exit status."""
    try:
        options = parse(arguments, ROOT)
        with sole_use(options.persist_to) as lock:
            refuse_former_state(options.persist_to)
            _check_port(options.port)
            return serve(options, lock)
    except (UsageError, NodeMissing) as error:
        fail(str(error))
    except KeyboardInterrupt:  # Ctrl-C came before `serve` had set its signal handler.
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
