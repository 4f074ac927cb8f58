"""Keys for a local server, made as an operator makes them."""

import subprocess
import sys
from pathlib import Path

from tests.support.dev_server import ROOT


def make_key(state: Path, *arguments: str) -> str:
    """Run the program of `make key` beside the server that keeps its state there, and return the key."""
    done = subprocess.run(
        [sys.executable, "-m", "local.key", "--persist-to", str(state), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (key,) = done.stdout.splitlines()
    return key
