"""`onceover run` and `submit` with a text that is too long for a request, or that is uploaded already."""

from pathlib import Path
from typing import Any

import pytest

from onceover_cli import texts
from tests.support.fake_api import TASK_ID, Answer, FakeApi
from tests.unit.cli.test_cli_commands import Runs

FILE_ID = "file-" + "7" * 32
FILES = {"object": "list", "data": [], "has_more": False}


def accepted(**progress: Any) -> Answer:
    counts = {"total": None, "completed": 0, "failed": 0, "truncated": 0, **progress}
    task = {"id": TASK_ID, "route": "queue", "status": "pending", "terminal": False, "progress": counts}
    return Answer(202, task)


@pytest.fixture(name="book")
def short_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(texts, "INPUT_BYTES_MOST", 20)
    book = tmp_path / "my book.txt"
    book.write_text("A text of more than 20 bytes.", "utf-8")
    return book


def test_a_long_text_is_uploaded(fake: FakeApi, run: Runs, book: Path) -> None:
    fake.on("GET", "/v1/files", FILES).on("POST", "/v1/files", {"id": FILE_ID}).on("POST", "/api/tasks", accepted())
    status, out, err = run("submit", str(book), "--reduce", "none")
    assert (status, out) == (0, f"{TASK_ID}\n"), err
    (sent,) = fake.requests("POST", "/api/tasks")
    assert sent.body == {"inputFile": FILE_ID, "reduce": "none"}
    assert len(fake.requests("POST", "/v1/files")) == 1
    assert "Uploading the text as my-book-" in err


def test_an_earlier_upload_is_found(fake: FakeApi, run: Runs, book: Path) -> None:
    name = texts.Text(book.read_text("utf-8"), str(book)).filename
    found = {"id": FILE_ID, "filename": name, "bytes": len(book.read_bytes())}
    other = {"id": "file-" + "0" * 32, "filename": "x", "bytes": 1}
    first = {"object": "list", "data": [other], "has_more": True}
    fake.on("GET", "/v1/files", first, {**FILES, "data": [found]}).on("POST", "/api/tasks", accepted())
    status, _, err = run("submit", str(book))
    assert status == 0, err
    assert not fake.requests("POST", "/v1/files")
    assert fake.requests("GET", "/v1/files")[1].query["after"] == other["id"]
    assert fake.requests("POST", "/api/tasks")[0].body == {"inputFile": FILE_ID}


def test_an_uploaded_text_is_named(fake: FakeApi, run: Runs) -> None:
    fake.on("POST", "/api/tasks", accepted())
    assert run("submit", "--input-file", FILE_ID)[0] == 0
    assert fake.requests("POST", "/api/tasks")[0].body == {"inputFile": FILE_ID}
    for wrong in ([], ["-", "--input-file", FILE_ID]):
        status, _, err = run("submit", *wrong)
        assert status != 0
        assert "--input-file" in err
    assert len(fake.requests("POST", "/api/tasks")) == 1
