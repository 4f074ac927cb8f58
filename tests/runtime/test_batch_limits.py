"""The limits of an input file on the real runtime: each fault of a line has its code, and nothing is left behind."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from src.kernel.domain import limits
from tests.support.client import CHAT, Client, Json, openai
from tests.support.databases import d1_file, opened
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

LINES_MOST = 20_000
LINE_BYTES_MOST = 1_000_000
# What a batch and its files have in the database. `tasks` and `batches` go with the erasure of the task.
OF_LINES = ("segments", "failures", "batch_slices")
OF_ALL = ("tasks", "texts", "batches", "files", "file_parts", "file_use", *OF_LINES)


def line(custom_id: str, text: str = "A text.", **body: object) -> bytes:
    asked = {"model": "test-model", "messages": [{"role": "user", "content": text}], **body}
    document = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": asked}
    return json.dumps(document, ensure_ascii=False).encode()


def lines(count: int) -> list[bytes]:
    return [line(f"r-{number}") for number in range(count)]


def of_size(size: int) -> bytes:
    return line("r-0", "x" * (size - len(line("r-0", ""))))


FAULTS: dict[str, tuple[bytes, str, int | None]] = {
    "20,001 lines": (b"\n".join(lines(LINES_MOST + 1)), "too_many_tasks", LINES_MOST + 1),
    "1 MB and a byte": (of_size(LINE_BYTES_MOST + 1), "line_too_large", 1),
    "the same id at both ends": (b"\n".join([*lines(LINES_MOST - 1), line("r-0")]), "duplicate_custom_id", LINES_MOST),
    "no UTF-8": (line("r-0") + b"\n" + line("r-1", "\u00e9").replace(b"\xc3\xa9", b"\xe9"), "invalid_json_line", 2),
    "an id of another alphabet": (line("r-0") + b"\n" + line("编号"), "invalid_json_line", 2),
    "two models": (line("r-0") + b"\n" + line("r-1", model="other"), "mismatched_model", 2),
    "a stream": (line("r-0") + b"\n" + line("r-1", stream=True), "unsupported_parameter", 2),
    "an empty file": (b"", "empty_file", None),
    "a mark alone": (b"\xef\xbb\xbf\r\n", "empty_file", None),
}
ACCEPTED: dict[str, tuple[bytes, int]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + b"\n".join([*lines(3), b""]), 3),
    "CR LF": (b"\r\n".join([*lines(3), b""]), 3),
    "a last line without an end": (b"\n".join(lines(3)), 3),
    "blank lines": (b"\n\r\n" + b"\n \n".join(lines(3)), 3),
    "a line of 1 MB": (of_size(LINE_BYTES_MOST), 1),
}


@pytest.fixture(name="model", scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key") as server:
        yield server


@pytest.fixture(name="server", scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[DevServer]:
    flags = openai(model.base_url, AI_MODEL="test-model", AI_MODELS="test-model,other", PLAN="paid")
    with DevServer(tmp_path_factory.mktemp("state"), *flags, "--limits", "paid", "--cron-every", "1") as started:
        yield started


def ended(server: DevServer, content: bytes) -> Json:
    with Client(server.url) as client:
        return client.ended_batch(client.start_batch(content, completion_window="1h")["id"])


def stored(server: DevServer, tables: tuple[str, ...]) -> dict[str, int]:
    with opened(d1_file(server.persist_to)) as connection:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608 - constants
    objects = [path for path in Path(server.persist_to).glob("v3/r2/**/blobs/*") if path.is_file()]
    return {name: count for name, count in {**counts, "objects": len(objects)}.items() if count}


def erase(server: DevServer, batch: Json) -> None:
    for path in (batch["onceover"]["task"], f"/v1/files/{batch['input_file_id']}"):
        answer = httpx.delete(f"{server.url}{path}", timeout=60)
        assert answer.status_code in {200, 204}, answer.text


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_has_its_error_and_leaves_nothing(server: DevServer, model: ModelServer, case: str) -> None:
    content, code, number = FAULTS[case]
    calls = len(model.calls())
    batch = ended(server, content)
    assert batch["status"] == "failed"
    assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [(code, number)]
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert len(model.calls()) == calls
    objects = {"objects": -(-len(content) // limits.FILE_PART_BYTES)} if content else {}
    assert stored(server, OF_LINES) == objects
    assert stored(server, ("tasks", "batches", "files")) == {"tasks": 1, "batches": 1, "files": 1, **objects}
    erase(server, batch)
    eventually(lambda: stored(server, OF_ALL) == {}, seconds=60)


@pytest.mark.parametrize("case", ACCEPTED)
def test_each_form_of_a_file_is_read(server: DevServer, case: str) -> None:
    content, total = ACCEPTED[case]
    batch = ended(server, content)
    assert (batch["status"], batch["request_counts"]["completed"]) == ("completed", total)
    answers = httpx.get(f"{server.url}/v1/files/{batch['output_file_id']}/content", timeout=60).text.splitlines()
    assert sorted(json.loads(one)["custom_id"] for one in answers) == [f"r-{number}" for number in range(total)]
    erase(server, batch)
    eventually(lambda: stored(server, OF_ALL) == {}, seconds=60)
