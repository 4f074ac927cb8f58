"""Tests the rules for code that runs when an upload is imported, with Cloudflare's glue code, which takes a memory
snapshot.

The local servers of all other tests start from a memory snapshot of the whole Worker.
"""

import random
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.dev_server import DevServer, ServerEnded
from tests.support.worker_copy import copy_worker

ANSWER = """
from src.core import keys

async def _answer(self, request):
    from workers import Response
    return Response(f"{keys.SEEDED} {keys.chance()}")

Default.fetch = _answer
"""
pytestmark = pytest.mark.runtime


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes a copy of the Worker in which one module has an addition."""

    def make(addition: str) -> Path:
        copy_worker(tmp_path)
        module = tmp_path / "src" / "core" / "keys.py"
        module.write_text(module.read_text() + addition)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("import os\nTOKEN = os.urandom(4)\n", "OSError: .* Randomness is not allowed while a Worker is starting"),
        pytest.param(
            *("from random import random\nTOKEN = random()\n", r"RuntimeError: Cannot use random\.random\(\)"),
            marks=pytest.mark.campaign,
        ),
        ("import js\nKEPT = js.AbortController.new()\n", r"Value: \[object AbortController\]"),
    ],
    ids=["urandom", "random", "proxy"],
)
def test_the_local_runtime_refuses_what_an_upload_refuses(
    project: Callable[[str], Path], tmp_path: Path, addition: str, complaint: str
):
    """If the code could not be deployed, `make dev` ends and prints the reason."""
    server = DevServer(tmp_path / "state", project=project(addition))
    with pytest.raises(ServerEnded, match=complaint), server:
        pass
    assert server.process.returncode == 1


def test_what_needs_no_randomness_at_import_is_let_through(project: Callable[[str], Path], tmp_path: Path):
    """During import, a seeded generator, imported names, and functions of `random` that are called only later are
    allowed.
    """
    root = project(
        "import random\nfrom random import random as chance\nimport js\nfrom js import AbortController, fetch\n"
        "SEEDED = random.Random(7).random()\n"
    )
    entry = root / "src" / "entry.py"
    entry.write_text(entry.read_text() + ANSWER)
    with DevServer(tmp_path / "state", project=root) as server:
        seeded, drawn = httpx.get(f"{server.url}/api/drawn").text.split()
    assert float(seeded) == random.Random(7).random() != float(drawn)
