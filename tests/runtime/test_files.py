"""Files on the real runtime: OpenAI's SDKs, both places for parts, large ones, and failures."""

import hashlib
import os
import random
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from bench import memory
from local.node import ROOT, find_node
from src.kernel.domain import limits
from tests.clients.walking import EXPECTED_OF_FILES, FILE_BYTES, HERE, walk
from tests.support import metered
from tests.support.client import Client, Json, line_of_batch, openai, variables
from tests.support.databases import d1_file, opened
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Plan, ok
from tests.support.model_server import ModelServer
from tests.support.programs import output_of
from tests.support.shell_blocks import blocks
from tests.support.tiers import sized
from tests.support.worker_copy import copy_worker, without_bucket

pytestmark = pytest.mark.runtime

LARGE_MB = sized(quick=40, test=40, campaign=95)
LARGE = LARGE_MB * 1_000_000
HEAP_MB_MOST = 20  # What an upload or a download may add to WebAssembly's memory.


@pytest.fixture(name="server", scope="module", params=["r2", "d1"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp(request.param)
    project = None
    if request.param == "d1":
        project = folder / "project"
        project.mkdir()
        copy_worker(project)
        without_bucket(project / "wrangler.toml")
    with DevServer(folder / "state", *variables({"REQUIRE_KEYS": "true"}), project=project) as server:
        yield server


# Files in D1 go through the same code of the API as files in the bucket, so one SDK and no example suffice for D1.
MOST_IN_THE_BUCKET = pytest.mark.parametrize(
    "server", ["r2", pytest.param("d1", marks=pytest.mark.campaign)], indirect=True, scope="module"
)


@pytest.fixture(name="lines")
def lines_file(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(random.Random(1).randbytes(FILE_BYTES))
    return path


def own_key(server: DevServer) -> str:
    """Return a key of a new tenant, because the programs of these tests list all files of their tenant."""
    return insert_key(server.persist_to, f"tenant-{secrets.token_hex(4)}")


def test_openai_for_python(server: DevServer, lines: Path):
    key = own_key(server)
    assert walk([sys.executable, HERE / "files.py", server.url, key, lines], EXPECTED_OF_FILES).startswith("3.")


@MOST_IN_THE_BUCKET
@pytest.mark.parametrize(
    ("package", "version"), [("openai", "7."), pytest.param("openai6", "6.", marks=pytest.mark.campaign)]
)
def test_openai_for_javascript(server: DevServer, lines: Path, package: str, version: str):
    key = own_key(server)
    command: list[str | Path] = [find_node(), HERE / "files.mjs", package, server.url, key, lines]
    assert walk(command, EXPECTED_OF_FILES).startswith(version)


def printed_by(server: DevServer, folder: Path, *command: str) -> list[str]:
    environment = {**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": own_key(server)}
    return output_of(command, cwd=folder, env=environment).splitlines()


@MOST_IN_THE_BUCKET
def test_the_programs_of_the_document(server: DevServer):
    page = ROOT / "docs" / "batches.md"
    python, (javascript,), printed = blocks(page, "python")[-1], blocks(page, "js"), blocks(page, "text")[-1]
    assert printed_by(server, ROOT, sys.executable, "-c", python) == printed.splitlines()
    told = printed_by(server, ROOT, str(find_node()), "--input-type=module", "-e", javascript)
    assert told == printed.replace("True", "true").splitlines()


@MOST_IN_THE_BUCKET
def test_the_program_of_the_document_about_batches(server: DevServer, tmp_path: Path):
    page = ROOT / "docs" / "batches.md"
    program, printed = blocks(page, "python")[0], blocks(page, "text")[0]
    assert sorted(printed_by(server, tmp_path, sys.executable, "-c", program)) == sorted(printed.splitlines())


def begun_upload(server: DevServer, key: str) -> socket.socket:
    url = urlsplit(server.url)
    assert url.hostname is not None
    connection = socket.create_connection((url.hostname, url.port), timeout=30)
    connection.sendall(
        f"POST /v1/files HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Length: 20000000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
        + b"x" * 1_000_000
    )
    return connection


@pytest.mark.parametrize("server", ["r2"], indirect=True, scope="module")
def test_large_uploads_beyond_the_isolates_memory_are_refused(server: DevServer):
    greedy, other = own_key(server), own_key(server)
    slow = limits.MEMORY_BYTES // (limits.FILE_PART_BYTES + limits.MEMORY_UPLOAD_BYTES)

    def sent(key: str, size: int) -> httpx.Response:
        form, auth = {"file": ("a.bin", bytes(size))}, {"Authorization": f"Bearer {key}"}
        return httpx.post(
            f"{server.url}/v1/files", files=form, data={"purpose": "user_data"}, headers=auth, timeout=120
        )

    clients = [begun_upload(server, greedy) for _ in range(slow)]
    refused: list[httpx.Response] = []

    def is_refused() -> bool:
        refused[:] = [sent(greedy, 5_000_000)]
        return refused[0].status_code == 503

    try:
        eventually(is_refused, seconds=60)
        assert (refused[0].json()["error"]["code"], refused[0].headers["retry-after"]) == ("overloaded", "5")
        assert sent(other, 1_000).status_code == 200
        auth = {"Authorization": f"Bearer {other}"}
        made = httpx.post(f"{server.url}/api/tasks", json={"input": "A text."}, headers=auth, timeout=60).json()
        shown = httpx.get(f"{server.url}/api/tasks/{made['id']}?wait=25", headers=auth, timeout=60).json()
        assert shown["status"] == "completed"
    finally:
        for client in clients:
            client.close()
    eventually(lambda: sent(greedy, 5_000_000).status_code == 200, seconds=60)
    eventually(lambda: left(server)[0] == [], seconds=60)


@pytest.fixture(name="large", scope="module")
def large_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    settings = variables({"PLAN": "paid", "MAX_FILE_BYTES": LARGE})
    environ = {"ONCEOVER_LOCAL_CLOCK": "moving"}
    with DevServer(tmp_path_factory.mktemp("large"), *settings, "--limits", "paid", environ=environ) as server:
        upload(server, b"x")  # imports what uploads need
        yield server


def upload(server: DevServer, content: bytes) -> httpx.Response:
    form = {"file": ("a.bin", content)}
    return httpx.post(f"{server.url}/v1/files", files=form, data={"purpose": "user_data"}, timeout=120)


def last(server: DevServer, request: str) -> Json:
    found: list[Json] = []

    def is_there() -> bool:
        found[:] = [line for line in metered.lines(server) if str(line.get("request", "")).startswith(request)]
        return bool(found)

    eventually(is_there, seconds=30)
    return found[-1]


def test_a_large_file_goes_through_an_isolate_that_does_not_grow(large: DevServer):
    """An upload and a download of 40 MB (in the campaign 95 MB) each add less than 20 MB to the Worker's memory."""
    before = last(large, "POST /v1/files")["heap_mb"]
    content = random.Random(2).randbytes(1_000_000) * LARGE_MB
    made = upload(large, content)
    assert made.status_code == 200, made.text
    stored = last(large, "POST /v1/files")
    path = f"/v1/files/{made.json()['id']}"
    with httpx.stream("GET", f"{large.url}{path}/content", timeout=120) as answer:
        assert answer.headers["content-length"] == str(LARGE)
        at = 0
        for piece in answer.iter_bytes():
            assert piece == content[at : at + len(piece)]
            at += len(piece)
    assert at == LARGE
    sent = last(large, f"GET {path}/content")
    print(f"heap {before} MB, then {stored['heap_mb']} and {sent['heap_mb']} MB")
    print(f"CPU {stored['cpu_ms'] / LARGE_MB:.1f} ms a MB stored, {sent['cpu_ms'] / LARGE_MB:.1f} ms a MB sent")
    assert max(stored["heap_mb"], sent["heap_mb"]) - before < HEAP_MB_MOST
    refused = upload(large, content + b"x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    assert httpx.delete(f"{large.url}{path}").status_code == 200
    assert left(large) == ([], [])


def test_calls_of_the_bucket_are_subrequests(large: DevServer):
    """The meter counts puts and gets of R2 as subrequests, and each as an operation of its class."""
    made = upload(large, b"x" * (limits.FILE_PART_BYTES + 1))
    path = f"/v1/files/{made.json()['id']}"
    assert len(httpx.get(f"{large.url}{path}/content", timeout=60).content) == limits.FILE_PART_BYTES + 1
    assert httpx.delete(f"{large.url}{path}").status_code == 200
    seen = {}
    for request in ("POST /v1/files", f"GET {path}/content", f"DELETE {path}"):
        line = last(large, request)
        seen[request.partition(" ")[0]] = line["bucket_writes"], line["bucket_reads"], line["subrequests"]
    assert seen == {"POST": (2, 0, 4), "GET": (0, 2, 3), "DELETE": (1, 0, 4)}


def left(server: DevServer) -> tuple[list[str], list[Path]]:
    with opened(d1_file(server.persist_to)) as connection:
        states = [row[0] for row in connection.execute("SELECT state FROM files WHERE state <> 'ready'")]
    return states, [path for path in server.persist_to.glob("v3/r2/**/blobs/*") if path.stat().st_size > 1]


def test_a_client_that_leaves_leaves_nothing(large: DevServer):
    url = urlsplit(large.url)
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(
            f"POST /v1/files HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 20000000\r\n".encode()
            + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 9_000_000
        )
        eventually(lambda: left(large)[1] != [], seconds=60)
    eventually(lambda: left(large) == ([], []), seconds=60)  # another upload may still be ending


def test_files_arrive_at_the_same_time(large: DevServer):
    contents = [bytes([number]) * 9_000_000 for number in range(5)]
    found: dict[int, httpx.Response] = {}

    def play(number: int) -> None:
        def is_stored() -> bool:
            found[number] = upload(large, contents[number])
            return found[number].status_code == 200

        eventually(is_stored, seconds=120, pause=1)

    threads = [threading.Thread(target=play, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, made in found.items():
        path = f"{large.url}/v1/files/{made.json()['id']}"
        assert httpx.get(f"{path}/content", timeout=60).content == contents[number]
        httpx.delete(path)
    assert len(found) == 5


OUTPUT_LINES = 205
ANSWER_CHARS = 980_000  # So the output file has 200 MB.


@pytest.mark.campaign
def test_an_output_of_200_mb_goes_through_an_isolate_that_does_not_grow(tmp_path: Path):
    """Less than 20 MB, in one piece and by `offset`, from a fresh runtime. docs/performance.md has it."""
    answers = Plan(decide=lambda call: ok("".join(reversed(call.user)).ljust(ANSWER_CHARS, "x")))
    requests = "".join(line_of(number) for number in range(OUTPUT_LINES))
    with ModelServer(api_key="test-key", plan=answers) as model:
        flags = (*openai(model.base_url, AI_MODEL="m", PLAN="paid"), "--limits", "paid", "--cron-every", "1")
        with DevServer(tmp_path, *flags) as server:
            output = output_of_batch(server, requests)
            assert server.stop() == 0
        with DevServer(tmp_path, *flags, environ={"ONCEOVER_LOCAL_CLOCK": "moving"}) as server:
            small = output_of_batch(server, line_of(0))  # imports what downloads need
            for query in ("", "?offset=0"):
                httpx.get(f"{server.url}/v1/files/{small}/content{query}").raise_for_status()
            path = f"/v1/files/{output}/content"
            before = last(server, f"GET /v1/files/{small}/content")["heap_mb"]
            whole = hashlib.sha256()
            with httpx.stream("GET", f"{server.url}{path}", timeout=600) as answer:
                size = int(answer.headers["content-length"])
                for piece in answer.iter_bytes():
                    whole.update(piece)
            assert size == answer.num_bytes_downloaded > ANSWER_CHARS * OUTPUT_LINES
            whole_line = last(server, f"GET {path}")
            sent = whole_line["heap_mb"]
            pages, at = hashlib.sha256(), 0
            while at < OUTPUT_LINES:
                with httpx.stream("GET", f"{server.url}{path}?offset={at}", timeout=600) as answer:
                    at = int(answer.headers["x-last-line"])
                    for piece in answer.iter_bytes():
                        pages.update(piece)
            paged = last(server, f"GET {path}")["heap_mb"]
            sending = [line for line in metered.lines(server) if line.get("request") == f"GET {path}"]
            cpu_ms = sum(line["cpu_ms"] for line in sending[1:])
    print(f"heap {before} MB, then {sent} MB after {size} bytes at once, and {paged} MB after as many by offset")
    print(f"CPU {whole_line['cpu_ms'] / size * 1e6:.2f} ms a MB at once, {cpu_ms / size * 1e6:.2f} ms by offset")
    assert pages.digest() == whole.digest()
    assert max(sent, paged) - before < HEAP_MB_MOST


def line_of(number: int) -> str:
    return line_of_batch(f"r-{number}", f"text {number}")


def output_of_batch(server: DevServer, requests: str) -> str:
    with Client(server.url) as client:
        batch = client.start_batch(requests, completion_window="1h")
        found = client.ended_batch(batch["id"], seconds=1_800)
    assert (found["status"], found["request_counts"]["failed"]) == ("completed", 0)
    return str(found["output_file_id"])


@pytest.mark.campaign
def test_everything_at_once_fits_into_an_isolate():
    """Twelve uploads, six batches and a large poll at once stay below 110 MB. Alone, each of them is served."""
    figures, statuses, alone = memory.measure()
    print(dict(figures), dict(statuses), alone)
    assert figures["all"] < memory.GOAL_MB
    assert statuses.keys() == {200, 503}
    assert set(alone) == {200}
