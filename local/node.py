"""Finds a Node.js that is new enough, and runs wrangler with it."""

import functools
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MINIMUM_MAJOR = 22  # The oldest major version of Node.js that wrangler and Miniflare accept.


class NodeMissing(Exception):
    """Raised when there is no Node.js that is new enough. The message of `NodeMissing` is one line for the user."""


def _version(node: Path) -> str | None:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().removeprefix("v")


@functools.cache
def find_node() -> Path:
    """Return the Node.js that npm installed, or else the one on PATH. Raises `NodeMissing`."""
    for brought in sorted((ROOT / "node_modules").glob("node-*/bin/node")):
        if _version(brought):
            return brought
    on_path = shutil.which("node")
    version = _version(Path(on_path)) if on_path else None
    if on_path and version and int(version.split(".")[0]) >= MINIMUM_MAJOR:
        return Path(on_path)
    found = f"the node on PATH is {version}" if version else "there is none on PATH"
    raise NodeMissing(f"Node.js {MINIMUM_MAJOR} or newer is needed, and {found}")


def wrangler(*arguments: str) -> list[str]:
    """Return the command that runs wrangler with the given arguments. Raises `NodeMissing`."""
    script = ROOT / "node_modules" / "wrangler" / "bin" / "wrangler.js"
    return [str(find_node()), "--disable-warning=ExperimentalWarning", str(script), *arguments]
