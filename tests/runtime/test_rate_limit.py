"""Tests the limit of requests on the real runtime, configured as wrangler.toml explains."""

from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.dev_server import ROOT, DevServer
from tests.support.worker_copy import copy_worker

pytestmark = pytest.mark.runtime
LIMIT = 3


def with_limiter(folder: Path) -> Path:
    """Copy the Worker with a wrangler.toml in which the limiter's block is uncommented and its limit is small."""
    copy_worker(folder)
    text = (ROOT / "wrangler.toml").read_text()
    before, header, after = text.partition("# [[ratelimits]]\n")
    marked = after.splitlines(keepends=True)
    block = "".join([header, *marked[:3]]).replace("# ", "").replace("limit = 600", f"limit = {LIMIT}")
    (folder / "wrangler.toml").write_text(before + block + "".join(marked[3:]))
    return folder


def test_requests_beyond_the_limit(tmp_path: Path):
    project = with_limiter(tmp_path / "project")
    with DevServer(tmp_path / "state", project=project) as server, Client(server.url) as client:
        answers = [client.http.get("/api/tasks") for _ in range(8)]
        accepted = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(accepted) + len(refused) == 8
        assert LIMIT <= len(accepted) <= 2 * LIMIT  # A new minute of the limiter may have begun between the requests.
        problem = refused[0].json()
        assert (problem["code"], problem["limit"]) == ("limit_reached", "requests")
        assert refused[0].headers["retry-after"] == "60"
        assert client.http.get("/api/async-status").status_code == 200
        assert "rate_limiter_failed" not in server.output
