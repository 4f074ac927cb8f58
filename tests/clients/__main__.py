"""`python -m tests.clients`: every version of OpenAI's SDKs that is supported, against a Worker of its own.

`openai` 3 for Python and 7 and 6 for JavaScript are the installed ones; `openai` 2 for Python comes into a folder that
is thrown away, from whatever index pip is set up for.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from local.node import find_node
from tests.clients.walking import HERE, walk
from tests.support.client import variables
from tests.support.dev_server import DevServer
from tests.support.make_key import make_key

OLDER = "openai>=2,<3"


def older_python(folder: Path) -> Path:
    """Make an environment with `openai` 2, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", OLDER], check=True)
    return python


def main() -> int:
    """Run all walks, one line each. Returns the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        with DevServer(state, *variables({"REQUIRE_KEYS": "true"})) as server:
            deployment = (server.url, make_key(state))
            for language, command in (
                ("Python", lambda: [sys.executable, HERE / "walk.py"]),
                ("Python", lambda: [older_python(Path(folder) / "venv"), HERE / "walk.py"]),
                ("JavaScript", lambda: [find_node(), HERE / "walk.mjs", "openai"]),
                ("JavaScript", lambda: [find_node(), HERE / "walk.mjs", "openai6"]),
            ):
                try:
                    print(f"openai {walk([*command(), *deployment])} for {language}: as it should be", flush=True)
                except AssertionError as error:
                    failed += 1
                    print(f"openai for {language}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
