"""`python -m tests.clients`: every version of OpenAI's SDKs that is supported, against a Worker of its own; then a
client of another maker.

`openai` 3 for Python and 7 and 6 for JavaScript are the installed ones. `openai` 2 for Python and `autobatcher`, which
sends background responses and polls them, come into a folder that is thrown away, from whatever index pip is set up
for.
"""

import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.node import find_node
from tests.clients.walking import EXPECTED, EXPECTED_OF_BATCHER, walk
from tests.support.client import variables
from tests.support.dev_server import DevServer
from tests.support.make_key import make_key

OLDER = "openai==2.54.0"
BATCHER = "autobatcher==0.12.0"

# Which client, how it is run, and what it must see.
type Walk = tuple[str, Callable[[], Sequence[str | Path]], Mapping[str, Any]]


def python_with(package: str, folder: Path) -> Path:
    """Make an environment with a package, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


def main() -> int:
    """Run all walks, one line each. Returns the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = folder / "state"
        with DevServer(state, *variables({"REQUIRE_KEYS": "true"}), ready_seconds=240) as server:
            deployment = (server.url, make_key(state))
            walks: tuple[Walk, ...] = (
                ("openai for Python", lambda: [sys.executable, "walk.py"], EXPECTED),
                ("openai for Python", lambda: [python_with(OLDER, folder / "older"), "walk.py"], EXPECTED),
                ("openai for JavaScript", lambda: [find_node(), "walk.mjs", "openai"], EXPECTED),
                ("openai for JavaScript", lambda: [find_node(), "walk.mjs", "openai6"], EXPECTED),
                ("autobatcher", lambda: [python_with(BATCHER, folder / "batcher"), "batcher.py"], EXPECTED_OF_BATCHER),
            )
            for client, command, expected in walks:
                try:
                    print(f"{client} {walk([*command(), *deployment], expected)}: as it should be", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"{client}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
