"""`inputFile` on the real runtime: OpenAI's SDKs, and a text of 9 MB, cut in slices through a kill like the whole."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.node import ROOT, find_node
from src.kernel.text.chunks import cuts
from tests.clients.walking import EXPECTED_OF_LONG_TEXT, HERE, walk
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, variables
from tests.support.dev_server import DevServer
from tests.support.make_key import insert_key
from tests.support.model_plan import Plan, ok
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
LEASE_SECONDS = 20
CHUNK_CHARS = 100_000
PARAGRAPH = "Ada met Grace in London. 天地玄黄，宇宙洪荒。👍🏽 Two words, é and more.\r\n"


def numbered(size: int) -> str:
    each = len(PARAGRAPH.encode()) * 9 + 20
    return "".join(f"## Part {number}\n\n{PARAGRAPH * 9}\n" for number in range(size // each))


def upload(url: str, content: bytes) -> str:
    form = {"file": ("book.txt", content, "text/plain")}
    sent = httpx.post(f"{url}/v1/files", files=form, data={"purpose": "user_data"}, timeout=120)
    assert sent.status_code == 200, sent.text
    return str(sent.json()["id"])


def cut_to(output: str) -> list[int]:
    return [int(found) for found in re.findall(r'"event":"text_cut".*?"bytes":(\d+)', output)]


@pytest.mark.parametrize("route", [pytest.param("queue", marks=pytest.mark.campaign), "durable-object"])
def test_a_text_of_several_mb_is_cut_through_a_kill(route: str, tmp_path: Path) -> None:
    text = numbered(9_000_000)
    ends = cuts(text, CHUNK_CHARS)
    expected = Counter(text[start:end] for start, end in zip((0, *ends), ends, strict=False))
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: ok("done"))) as model:
        flags = (*ENVIRONMENTS[route], *openai(model.base_url, LEASE_SECONDS=LEASE_SECONDS, AI_TIMEOUT_SECONDS=10))
        state = tmp_path / "state"
        with DevServer(state, *flags, "--cron-every", "2") as server:
            file_id = upload(server.url, text.encode())
            body = {"inputFile": file_id, "chunk": {"maxChars": CHUNK_CHARS}, "reduce": "none"}
            made = httpx.post(f"{server.url}/api/tasks", json=body, timeout=60)
            assert made.status_code == 202, made.text
            task_id = str(made.json()["id"])
            assert made.json()["progress"]["total"] is None
            server.wait_for_line('"event":"text_cut"', 120)
            server.kill()
            before = cut_to(server.output)
        assert 0 < before[-1] < len(text.encode())
        assert model.calls() == []
        with DevServer(state, *flags, "--cron-every", "2") as server, Client(server.url) as client:
            refused = httpx.delete(f"{server.url}/v1/files/{file_id}", timeout=60)
            assert refused.status_code == 409, refused.text
            task = client.finished(task_id, 240)
            chunks = client.chunks(task_id)
            assert cut_to(server.output)[0] > before[-1], "the cut began again"
            assert httpx.delete(f"{server.url}/v1/files/{file_id}", timeout=60).status_code == 200
        assert task["status"] == "completed", task
        assert (task["progress"]["total"], task["usage"]["modelCalls"]) == (len(ends), len(ends))
        assert Counter(call.user for call in model.calls()) == expected
        assert [chunk["end"] for chunk in chunks] == list(ends)


@pytest.fixture(name="deployment", scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with DevServer(tmp_path_factory.mktemp("state"), *variables({"REQUIRE_KEYS": "true"})) as server:
        yield server.url, insert_key(server.persist_to)


TEXT = ROOT / "examples" / "english.txt"


def test_openai_for_python(deployment: tuple[str, str]) -> None:
    command: list[str | Path] = [sys.executable, HERE / "long_text.py", *deployment, TEXT]
    assert walk(command, EXPECTED_OF_LONG_TEXT).startswith("3.")


@pytest.mark.parametrize(
    ("package", "version"), [("openai", "7."), pytest.param("openai6", "6.", marks=pytest.mark.campaign)]
)
def test_openai_for_javascript(deployment: tuple[str, str], package: str, version: str) -> None:
    command: list[str | Path] = [find_node(), HERE / "long_text.mjs", package, *deployment, TEXT]
    assert walk(command, EXPECTED_OF_LONG_TEXT).startswith(version)
