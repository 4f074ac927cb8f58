"""Streams of events on the real runtime: each event once, in order, the same text, however often a stream is cut."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.node import find_node
from tests.clients.walking import HERE as CLIENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.event_streams import Follower
from tests.support.model_plan import Plan, ok, slow, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
CHUNKS = 8
SMALL = {"maxChars": 40}


def check(follower: Follower, client: Client, task_id: str) -> None:
    """Hold what came to what the API says."""
    task = client.task(task_id)
    assert follower.end == task
    assert follower.chunks == client.chunks(task_id)
    assert "\n\n".join(chunk["output"] for chunk in follower.chunks) == task["result"]["output"]
    assert follower.statuses == ["pending", "processing", "completed"]
    assert len({event.id for event in follower.came}) == len(follower.came)


def test_chunks_come_as_they_finish_and_every_cut_is_mended(client: Client, model: ModelServer):
    """On each route: three clients follow one task. One stays, one leaves after each event, one comes at the end."""
    model.plan = Plan(decide=lambda _: slow(0.6))
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL, metadata={"client": "live"})
    path = task["links"]["events"]
    live, cut, late = (Follower(client.http, path) for _ in range(3))
    with httpx.Client(base_url=client.http.base_url) as another:
        cut.http = another
        cutting = threading.Thread(target=cut.follow, kwargs={"cut_each": True})
        cutting.start()
        live.follow()
        cutting.join(60)
    late.follow()
    for each in (live, cut, late):
        check(each, client, task["id"])
        assert each.came == live.came
    assert live.connections == late.connections == 1
    assert cut.connections == len(cut.came) + 1
    assert live.progress > 1, "nothing came before the end"
    for at in range(len(live.came)):  # after the end, behind each event
        again = Follower(client.http, path, came=live.came[: at + 1])
        again.follow()
        assert (again.came, again.end) == (live.came, live.end)
    model.plan = Plan()


def test_the_end_after_a_retry(client: Client, model: ModelServer):
    """A client that has had a failed end goes on behind it: the new generation, and the chunks that it has not had."""
    model.plan = Plan(decide=lambda call: status(404) if "004" in call.user else ok())
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    follower = Follower(client.http, task["links"]["events"])
    assert follower.follow()["error"]["code"] == "model_refused"
    had = len(follower.chunks)
    assert had <= 4
    model.plan = Plan()
    assert client.http.post(task["links"]["retry"]).status_code == 202
    follower.end = None
    assert follower.follow()["status"] == "completed"
    assert follower.statuses == ["pending", "processing", "failed", "pending", "processing", "completed"]
    assert [chunk["index"] for chunk in follower.chunks] == list(range(CHUNKS))
    assert follower.chunks == client.chunks(task["id"])


def test_a_client_that_leaves_frees_the_invocation(dev: DevServer, client: Client, model: ModelServer, route: str):
    """Of a task to which nothing happens: the next comment finds nobody, and the stream looks no more."""
    if route != "queue":
        pytest.skip("a stream is the same on each route")
    model.plan = Plan(decide=lambda _: slow(1.9))
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    so_far = len(dev.lines)
    Follower(client.http, task["links"]["events"]).connect(2)
    dev.wait_for_line(rf'"stream_closed".*{task["id"]}', 60, after=so_far)
    assert not client.task(task["id"])["terminal"]
    model.plan = Plan()


CONCAT = ["created", "queued", "in_progress", "output_item.added", "content_part.added"]
ENDS = ["output_text.done", "content_part.done", "output_item.done", "completed"]
FOLLOWED = {
    "concat": {
        "types": [*CONCAT, *["output_text.delta"] * 8, *ENDS],
        "numbered": True,
        "text": True,
        "again": True,
    },
    "merge": {"types": [*CONCAT, "output_text.delta", *ENDS], "numbered": True, "text": True, "again": True},
    "patient": {"numbered": True, "text": True, "broken": []},
    "cancelled": ["response.failed", "cancelled"],
}


def followed(server: DevServer, language: str, early: str = "") -> dict[str, Any]:
    """Have a program that uses an SDK, unmodified, follow responses, and return what it saw."""
    program = [sys.executable, "stream.py"] if language == "Python" else [find_node(), "stream.mjs", "openai"]
    command = [str(part) for part in (*program, server.url, "oo_nobody", early)]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("language", ["Python", "JavaScript"])
def test_the_sdks_follow_and_read_on_behind_every_event(dev: DevServer, model: ModelServer, route: str, language: str):
    """Each number once, the deltas add up to the text, and each resumption has the same events."""
    if route != "queue":
        pytest.skip("the numbers follow from the database, whatever the route")
    model.plan = Plan(decide=lambda _: slow(0.2))
    assert followed(dev, language) == FOLLOWED
    model.plan = Plan()


def example(language: str) -> str:
    """Return the program of a language that `docs/clients.md` shows."""
    text = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
    found = text.partition(f"```{language}\n")[2].partition("```")[0]
    assert "follow(" in found
    return found


def test_the_programs_of_the_documents_follow(
    dev: DevServer, client: Client, model: ModelServer, route: str, tmp_path: Path
):
    """The clients that the documents show, in Python and for a browser, receive every event and stop at the end."""
    if route != "queue":
        pytest.skip("the documents' programs know no routes")
    model.plan = Plan(decide=lambda _: slow(0.3))
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    names: dict[str, Any] = {}
    exec(example("python"), names)  # noqa: S102 - it stands in the documents
    received = list(names["follow"](client.http, task["links"]["events"]))
    model.plan = Plan()
    wanted = ["status", "status", *["chunk"] * CHUNKS, "status", "end"]
    assert [name for name, _ in received if name != "progress"] == wanted
    assert received[-1][1] == client.task(task["id"])
    program = tmp_path / "follow.mjs"
    url = dev.url + task["links"]["events"]
    program.write_text(f"{example('js')}\nawait follow({json.dumps(url)}, 'x', (event) => console.log(event));\n")
    done = subprocess.run([find_node(), program], capture_output=True, text=True, timeout=60, check=True)
    assert [name for name in done.stdout.split() if name != "progress"] == wanted


def test_an_early_end_is_an_error_to_the_sdks(tmp_path: Path):
    """On the free plan a stream ends after six reads: each SDK raises its error, and goes on behind the last event."""
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(0.8))) as model:
        flags = openai(model.base_url, AI_TIMEOUT_SECONDS=5, LEASE_SECONDS=10, AI_CONCURRENCY=1)
        with DevServer(tmp_path, *flags) as server:
            for language in ("Python", "JavaScript"):
                seen = followed(server, language, "early")
                assert seen == {"patient": {"numbered": True, "text": True, "broken": ["APIError"]}}, language


def test_a_stream_outlives_the_server(tmp_path: Path):
    """SIGKILL of everything in mid-stream, twice, on the plan whose invocations end after six reads."""
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(0.5))) as model:
        flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=2, LEASE_SECONDS=4, AI_CONCURRENCY=1), "--cron-every", "1"]
        server = DevServer(tmp_path, *flags).start()
        port = server.url.rpartition(":")[2]
        try:
            with Client(server.url) as client:
                task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
                follower = Follower(client.http, task["links"]["events"])
                for events in (4, 7):
                    follower.connect(events)
                    server.kill()
                    server.__exit__(None, None, None)
                    server = DevServer(tmp_path, *flags, port=int(port)).start()
                follower.follow(90)
                check(follower, client, task["id"])
                assert follower.connections >= 3
        finally:
            server.__exit__(None, None, None)
