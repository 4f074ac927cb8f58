"""Answers that are sent in parts, on the real runtime: its streams, and what the runtime's process holds meanwhile."""

import random
import threading
from pathlib import Path

import pytest

from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan, ok
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

CHUNKS, CHARS = 210, 190_000


def resident_bytes(server: DevServer) -> int:
    """Return what all processes of a server hold in memory."""
    total = 0
    for pid in server.group_members():
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    return total


def test_40_mb_are_read_whole_and_by_pages(tmp_path: Path):
    """A list of 40 MB of outputs comes whole in one answer, and page by page, with the same texts."""
    rng = random.Random(1)
    words = [rng.randbytes(4).hex() for _ in range(5_000)]
    texts = {f"part {number}": " ".join(rng.choices(words, k=CHARS // 9)) for number in range(16)}

    def text_of(user: str) -> str:
        return texts[f"part {sum(user.encode()) % 16}"]

    with (
        ModelServer(api_key="test-key", plan=Plan(decide=lambda call: ok(text_of(call.user)))) as model,
        DevServer(tmp_path, *openai(model.base_url, PLAN="paid")) as server,
        Client(server.url) as client,
    ):
        submitted = client.submit(paragraphs(CHUNKS), reduce="none", chunk={"maxChars": 40})
        path = f"/api/tasks/{submitted['id']}"
        eventually(lambda: client.http.get("/api/tasks?status=completed").json()["tasks"], seconds=90, pause=0.5)
        peak, done = [before := resident_bytes(server)], threading.Event()

        def watch() -> None:
            while not done.wait(0.02):
                peak.append(resident_bytes(server))

        watcher = threading.Thread(target=watch)
        watcher.start()
        whole = client.http.get(path, timeout=120)
        done.set()
        watcher.join()
        print(f"whole {len(whole.content):,} bytes, before {before:,}, peak {max(peak):,}")
        task = whole.json()
        assert (whole.status_code, task["status"]) == (200, "completed")
        assert len(whole.content) > 39_000_000
        cursor: str | None = ""
        pages: list[str] = []
        while cursor is not None:
            page = client.http.get(f"{path}/chunks?limit=100{cursor}", timeout=60).json()
            assert sum(len(chunk["output"]) for chunk in page["chunks"]) <= 2_000_000
            pages += [chunk["output"] for chunk in page["chunks"]]
            cursor = page["nextCursor"] and f"&cursor={page['nextCursor']}"
        assert pages == task["result"]["output"]
