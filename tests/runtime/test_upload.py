"""The rules for code at an upload's import, with Cloudflare's glue code, which takes a snapshot."""

from pathlib import Path

import pytest

from tests.support.dev_server import DevServer, ServerEnded
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime


@pytest.mark.parametrize(
    ("addition", "complaint"),
    [
        pytest.param(
            *("import os\nTOKEN = os.urandom(4)\n", "OSError: .* Randomness is not allowed while a Worker is starting"),
            marks=pytest.mark.campaign,
        ),
        pytest.param(
            *("from random import random\nTOKEN = random()\n", r"RuntimeError: Cannot use random\.random\(\)"),
            marks=pytest.mark.campaign,
        ),
        ("import js\nKEPT = js.AbortController.new()\n", r"Value: \[object AbortController\]"),
    ],
    ids=["urandom", "random", "proxy"],
)
def test_the_local_runtime_refuses_what_an_upload_refuses(tmp_path: Path, addition: str, complaint: str):
    module = write_tiny_worker(tmp_path / "project") / "greeting.py"
    module.write_text(module.read_text() + addition)
    server = DevServer(tmp_path / "state", project=tmp_path / "project")
    with pytest.raises(ServerEnded, match=complaint), server:
        pass
    assert server.process.returncode == 1
