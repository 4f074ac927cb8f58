"""The import of the Worker under the rules of an upload, in the interpreter that production runs."""

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.node import ROOT, find_node
from tests.support.dev_server import DevServer, ServerEnded

ANSWER = """
from src.core import keys

async def _answer(self, request):
    from workers import Response
    return Response(f"{keys.SEEDED} {keys.chance()}")

Default.fetch = _answer
"""
pytestmark = pytest.mark.runtime

# `importlib.metadata`, which pydantic asks for its plugins, keeps the standard library's archive open to list it. The
# platform's own start does so too.
OPEN_ANYWAY = "/lib/python314.zip"
# The rest of the import may take so many times what pydantic takes, under whatever load: at most 1.04 was seen.
REST_MOST = 2.0


def report(*arguments: str) -> dict[str, Any]:
    """What `upload.mjs` saw."""
    command = [str(find_node()), "tests/support/upload.mjs", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_snapshot_can_hold_what_the_import_leaves():
    """No randomness, clock, thread, open file, lock of asyncio; a path to each object of JavaScript."""
    found = report("watch")
    found["streams"] = [stream for stream in found["streams"] if OPEN_ANYWAY not in stream]
    assert found == {
        "clock": [],
        "entropy": [],
        "threads": [],
        "streams": [],
        "bound": [],
        "proxies": [],
        "entropyCalls": 0,
        "unserializable": [],
        "timers": 0,
    }


def test_the_check_finds_what_a_snapshot_could_not_hold(tmp_path: Path):
    """An object of JavaScript that was made at import, and randomness."""
    faults = tmp_path / "faults.py"
    faults.write_text(
        "import js, os\nKEPT = js.AbortController.new()\nNAMED = js.AbortController\nTOKEN = os.urandom(4)\n"
    )
    found = report("watch", str(faults))
    assert found["unserializable"] == ["[object AbortController]"]
    assert found["entropyCalls"] == 1


def test_the_import_is_of_the_size_of_that_of_pydantic():
    """A tripwire for what no count sees, such as a table that takes seconds to build; far from what is measured.

    `tests/unit/test_import_size.py` counts exactly, and `python -m bench imports` measures.
    """
    seen = []
    for _ in range(3):
        found = report("time")
        seen.append((found["pydantic"], found["rest"]))
        if found["rest"] <= REST_MOST * found["pydantic"]:
            return
    pytest.fail(f"CPU milliseconds for pydantic, and for the rest: {seen}")


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Make a copy of the Worker, one module of which does something more."""

    def make(addition: str) -> Path:
        for name in ("src", "migrations", "public"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "wrangler.toml", tmp_path / "wrangler.toml")
        module = tmp_path / "src" / "core" / "keys.py"
        module.write_text(module.read_text() + addition)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        ("import os\nTOKEN = os.urandom(4)\n", "OSError: .* randomness at import"),
        ("from random import random\nTOKEN = random()\n", "RuntimeError: randomness at import"),
        (
            "import js\nKEPT = js.AbortController.new()\n",
            r"RuntimeError: .* a snapshot cannot hold: src\.core\.keys\.KEPT",
        ),
    ],
    ids=["urandom", "random", "proxy"],
)
def test_the_local_runtime_refuses_what_an_upload_refuses(
    project: Callable[[str], Path], tmp_path: Path, addition: str, complaint: str
):
    """`make dev` ends with the reason, instead of running what could not be deployed."""
    server = DevServer(tmp_path / "state", project=project(addition))
    with pytest.raises(ServerEnded, match=complaint), server:
        pass
    assert server.process.returncode == 1


def test_what_needs_no_randomness_at_import_is_let_through(project: Callable[[str], Path], tmp_path: Path):
    """A seeded generator, names of the global scope, and a function of `random` that works once there are requests."""
    root = project(
        "import random\nfrom random import random as chance\nimport js\nfrom js import AbortController, fetch\n"
        "SEEDED = random.Random(7).random()\n"
    )
    entry = root / "src" / "entry.py"
    entry.write_text(entry.read_text() + ANSWER)
    with DevServer(tmp_path / "state", project=root) as server:
        seeded, drawn = httpx.get(f"{server.url}/api/drawn").text.split()
    assert float(seeded) == random.Random(7).random() != float(drawn)
