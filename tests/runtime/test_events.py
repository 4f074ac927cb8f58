"""Tests streams of events on the real runtime: each event comes once, in order, even if streams are cut off."""

import json
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from local.node import find_node
from tests.clients.walking import EXPECTED_OF_STREAM, run
from tests.clients.walking import HERE as CLIENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.event_streams import Follower
from tests.support.loopback import reserved_port
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer
from tests.support.programs import output_of

pytestmark = pytest.mark.runtime
CHUNKS = 8
SMALL = {"maxChars": 40}


# On objects a stream waits for the task's object. On the queue and on the direct route it waits in the same way.
ON_TWO_ROUTES = pytest.mark.parametrize(
    "route",
    ["queue", "durable-object", pytest.param("direct", marks=pytest.mark.campaign)],
    indirect=True,
    scope="module",
)


def check(follower: Follower, client: Client, task_id: str) -> None:
    task = client.task(task_id)
    assert follower.end == task
    assert follower.chunks == client.chunks(task_id)
    assert "\n\n".join(chunk["output"] for chunk in follower.chunks) == task["result"]["output"]
    assert follower.statuses == ["pending", "processing", "completed"]
    assert len({event.id for event in follower.came}) == len(follower.came)


@ON_TWO_ROUTES
def test_chunks_come_as_they_finish_and_every_cut_is_mended(client: Client, model: ModelServer):
    """Three clients receive all events, on the queue, on objects, and in the campaign direct."""
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
    for at in range(len(live.came)):  # A client can resume the stream of a response after each event.
        again = Follower(client.http, path, came=live.came[: at + 1])
        again.follow()
        assert (again.came, again.end) == (live.came, live.end)
    model.plan = Plan()


# The tests with SDKs run only on the queue, because streams are the same on each route.
ON_THE_QUEUE = pytest.mark.parametrize("route", ["queue"], indirect=True, scope="module")


@ON_THE_QUEUE
def test_a_client_that_leaves_frees_the_invocation(dev: DevServer, client: Client, model: ModelServer):
    """The next event cannot be sent, and the stream ends before its task of at least 19 seconds."""
    model.plan = Plan(decide=lambda _: slow(1.9))
    task = client.submit(paragraphs(60), chunk=SMALL)
    so_far = len(dev.lines)
    Follower(client.http, task["links"]["events"]).connect(2)
    dev.wait_for_line(rf'"stream_closed".*{task["id"]}', 60, after=so_far)
    assert not client.task(task["id"])["terminal"]
    assert client.http.post(task["links"]["cancel"]).json()["status"] == "cancelled"
    model.plan = Plan()


def followed(server: DevServer, language: str, early: str = "") -> dict[str, Any]:
    program = [sys.executable, "stream.py"] if language == "Python" else [find_node(), "stream.mjs", "openai"]
    seen: dict[str, Any] = run([*program, server.url, "oo_nobody", early])
    return seen


@ON_THE_QUEUE
@pytest.mark.parametrize("language", ["Python", "JavaScript"])
def test_the_sdks_follow_and_read_on_behind_every_event(dev: DevServer, model: ModelServer, language: str):
    """Each event comes once, the deltas are the text, and a stream goes on after any event."""
    model.plan = Plan(decide=lambda _: slow(0.2))
    assert followed(dev, language) == EXPECTED_OF_STREAM
    model.plan = Plan()


def example(language: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
    found = text.partition(f"```{language}\n")[2].partition("```")[0]
    assert "follow(" in found
    return found


@ON_THE_QUEUE
def test_the_programs_of_the_documents_follow(dev: DevServer, client: Client, model: ModelServer, tmp_path: Path):
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
    printed = output_of([find_node(), program])
    assert [name for name in printed.split() if name != "progress"] == wanted


def test_an_early_end_is_an_error_to_the_sdks(tmp_path: Path):
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(0.8))) as model:
        flags = openai(model.base_url, AI_TIMEOUT_SECONDS=5, LEASE_SECONDS=10, AI_CONCURRENCY=1)
        with DevServer(tmp_path, *flags) as server:
            for language in ("Python", "JavaScript"):
                seen = followed(server, language, "early")
                assert seen == {"patient": {"numbered": True, "text": True, "broken": ["APIError"]}}, language
            assert "event: error" in cut_off(server).rstrip("\n").split("\n\n")[-1]


def cut_off(server: DevServer) -> str:
    """Stream a response longer than its stream, and return the events until that ended."""
    text = "\n\n".join(["word " * 1_100] * 14)
    asked = {"model": "m", "input": text, "background": True, "stream": True}
    came = bytearray()

    def read() -> None:
        with httpx.stream("POST", f"{server.url}/v1/responses", json=asked, timeout=60) as answer:
            for piece in answer.iter_raw():
                came.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    return came.decode()


class Abroad:
    """Runs a program that follows a response through an unmodified SDK of OpenAI while the server is killed.

    Leaving it as a context manager ends the program.
    """

    def __init__(self, url: str, language: str) -> None:
        program = [sys.executable, "stream.py"] if language == "Python" else [find_node(), "stream.mjs", "openai"]
        command = [str(part) for part in (*program, url, "oo_nobody", "outlives")]
        self._process = subprocess.Popen(
            command, cwd=CLIENTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def seen(self) -> dict[str, Any]:
        out, told = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, told
        found: dict[str, Any] = json.loads(out)
        return found


def followed_while_open(follower: Follower, events: int, thread: threading.Thread) -> None:
    eventually(lambda: len(follower.came) >= events or not thread.is_alive(), 60)
    assert thread.is_alive(), "it has ended before the server was killed"


@pytest.mark.parametrize(
    "env",
    [
        pytest.param((), id="queue"),
        pytest.param(("--env", "free"), id="object", marks=pytest.mark.campaign),
        pytest.param(("--env", "direct"), id="direct", marks=pytest.mark.campaign),
    ],
)
def test_a_stream_outlives_the_server(tmp_path: Path, env: tuple[str, ...]):
    """After a SIGKILL each client gets an error, and goes on after its last event.

    The followed task goes on as soon as a new server takes requests, which can be seconds before that one is killed
    too. So it is long, and the model is slow until the last kill.
    """
    languages, kills = ((), (4,)) if env else (("Python", "JavaScript"), (4, 7))
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(1))) as model, ExitStack() as programs:
        settings = openai(model.base_url, AI_TIMEOUT_SECONDS=3, LEASE_SECONDS=5, AI_CONCURRENCY=1)
        flags = [*env, *settings, "--cron-every", "1"]
        port = reserved_port()
        server = DevServer(tmp_path, *flags, port=port).start()
        try:
            with Client(server.url) as client, httpx.Client(base_url=server.url) as another:
                abroad = [programs.enter_context(Abroad(server.url, language)) for language in languages]
                for program in abroad:
                    program.wait_until_ready()
                for program in abroad:
                    program.go()
                eventually(lambda: len(client.http.get("/api/tasks").json()["tasks"]) == len(languages))
                task = client.submit(paragraphs(5 * CHUNKS), chunk=SMALL)
                follower = Follower(another, task["links"]["events"])
                broken = list[float]()

                def wait_for_server() -> None:
                    broken.append(time.monotonic())
                    time.sleep(0.2)

                thread = threading.Thread(
                    target=follower.follow, args=(120,), kwargs={"meanwhile": wait_for_server}, daemon=True
                )
                thread.start()
                for events in kills:
                    followed_while_open(follower, events, thread)
                    server.kill()
                    server.__exit__(None, None, None)
                    server = DevServer(tmp_path, *flags, port=port).start()
                model.plan = Plan()
                thread.join(120)
                check(follower, client, task["id"])
                assert len(broken) >= len(kills), "the server died, and no reader of an open stream noticed"
                for program in abroad:
                    seen = program.seen()["patient"]
                    assert (seen["numbered"], seen["text"]) == (True, True), seen
                    assert seen["broken"], "the server died, and the SDK told nobody"
        finally:
            server.__exit__(None, None, None)
