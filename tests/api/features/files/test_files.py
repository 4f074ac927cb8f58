"""`/v1/files`: uploads in parts, lists, contents and deletion, in the shapes of OpenAI's SDKs, with R2 and with D1."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai.pagination import SyncCursorPage
from openai.types import FileDeleted, FileObject

from src.features.files.api.content import disposition
from src.features.files.api.form import shown_name
from src.features.files.blobs.d1 import D1Bucket
from src.features.files.blobs.r2 import R2Bucket
from src.features.files.store import FileStore
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.run.memory import MemoryShare
from tests.support.api_bench import START_MS, ApiBench, BenchRequest, data
from tests.support.memory_r2 import INTERNAL, MemoryR2

URL = "http://localhost:8787/v1/files"

PART = 1_000  # The most bytes of a part in these tests.
ID = "file-" + "0" * 32


@pytest.fixture(name="files", params=["d1", "r2"])
def files_bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ApiBench:
    monkeypatch.setattr(D1Bucket, "part_bytes", PART)
    monkeypatch.setattr(R2Bucket, "part_bytes", PART)
    made = ApiBench()
    if request.param == "r2":
        made.blobs = MemoryR2(made.now_ms)
    return made


def form(content: bytes = b"{}\n", filename: str | None = "a.jsonl", **fields: str) -> httpx.Request:
    given = {"purpose": "batch"} | {
        name.replace("__", "[").replace("_at_end", "]"): one for name, one in fields.items()
    }
    sent = {"file": content if filename is None else (filename, content)}
    return httpx.Request("POST", URL, files=sent, data=given)


def raw(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """Write a form with the boundary `b` from the ends of Content-Dispositions and contents."""
    lines = [
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    ]
    return b"".join(lines) + end


PURPOSE = ('name="purpose"', b"batch")
FILE = ('name="file"; filename="a"', b"x" * 2_500)


def send(bench: ApiBench, body: bytes, query: str = "", **more: Any) -> Reply:
    headers = {"content-type": "multipart/form-data; boundary=b", "x-request-id": "bench"} | more.pop("headers", {})
    return bench.send(BenchRequest("POST", URL + query, headers, body, **more))


def upload(bench: ApiBench, made: httpx.Request | None = None, query: str = "", **more: Any) -> Reply:
    made = made or form()
    headers = {name: made.headers[name] for name in ("content-type", "content-length")} | more.pop("headers", {})
    return send(bench, made.read(), query, headers=headers, **more)


def uploaded(bench: ApiBench, content: bytes = b"{}\n", **fields: str) -> dict[str, Any]:
    reply = upload(bench, form(content, **fields))
    assert reply.status == 200, reply
    found: dict[str, Any] = data(reply)
    return found


def content_of(bench: ApiBench, file_id: str, **headers: str) -> bytes:
    reply = bench.call("GET", f"/v1/files/{file_id}/content", headers=headers)
    assert reply.status == 200, reply
    return reply.body.encode("latin-1")


def left(bench: ApiBench) -> list[object]:
    tables = ("files", "file_parts", "file_use")
    rows = [row for table in tables for row in bench.database.rows(f"SELECT * FROM {table}")]  # noqa: S608 - constants
    return [*rows, *(bench.blobs.objects if isinstance(bench.blobs, MemoryR2) else ())]


def refusal(reply: Reply) -> tuple[int, str, str | None]:
    error = data(reply)["error"]
    assert error["message"]
    return reply.status, error["code"], error["param"]


def test_the_sdk_s_models_accept_every_answer(files: ApiBench) -> None:
    made = uploaded(files, b'{"a": 1}\n')
    file = FileObject.model_validate(made, strict=True)
    assert file == FileObject(
        id=made["id"],
        bytes=9,
        created_at=START_MS // 1000,
        expires_at=START_MS // 1000 + 2_592_000,
        filename="a.jsonl",
        object="file",
        purpose="batch",
        status="processed",
        status_details=None,
    )
    assert made.keys() == FileObject.model_fields.keys()
    assert data(files.call("GET", f"/v1/files/{file.id}")) == made
    listed = data(files.call("GET", "/v1/files"))
    page = SyncCursorPage[FileObject].model_validate(listed, strict=True)
    assert page.data == [file]
    assert (listed["object"], listed["first_id"], listed["last_id"], page.has_more) == ("list", file.id, file.id, False)
    assert content_of(files, file.id) == b'{"a": 1}\n'
    deleted = data(files.call("DELETE", f"/v1/files/{file.id}"))
    assert FileDeleted.model_validate(deleted, strict=True) == FileDeleted(id=file.id, object="file", deleted=True)
    assert left(files) == []
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert refusal(files.call(method, f"/v1/files/{file.id}{path}")) == (404, "not_found", None)


ANCHOR, SECONDS = 'name="expires_after[anchor]"', 'name="expires_after[seconds]"'
BAD: dict[str, tuple[bytes, str, str | None]] = {
    "no file": (raw(PURPOSE), "invalid_fields", "file"),
    "no purpose": (raw(FILE), "invalid_fields", "purpose"),
    "nothing": (raw(), "invalid_fields", "file"),
    "file as a field": (raw(PURPOSE, ('name="file"', b"x")), "invalid_fields", "file"),
    "two files": (raw(PURPOSE, FILE, FILE), "invalid_fields", "file"),
    "two purposes": (raw(FILE, PURPOSE, PURPOSE), "invalid_fields", "purpose"),
    "purpose as a file": (raw(FILE, ('name="purpose"; filename="a"', b"batch")), "invalid_fields", "purpose"),
    "other purpose": (raw(FILE, ('name="purpose"', b"fine-tune")), "invalid_fields", "purpose"),
    "output": (raw(FILE, ('name="purpose"', b"batch_output")), "invalid_fields", "purpose"),
    "not utf-8": (raw(FILE, ('name="purpose"', b"\xff")), "invalid_fields", "purpose"),
    "nul": (raw(FILE, ('name="purpose"', b"\0")), "invalid_fields", "purpose"),
    "unknown field": (raw(FILE, PURPOSE, ('name="surprise"', b"1")), "unsupported_parameter", "surprise"),
    "unknown file": (raw(FILE, PURPOSE, ('name="other"; filename="b"', b"1")), "unsupported_parameter", "other"),
    "seconds alone": (raw(FILE, PURPOSE, (SECONDS, b"3600")), "invalid_fields", "expires_after[anchor]"),
    "anchor alone": (raw(FILE, PURPOSE, (ANCHOR, b"created_at")), "invalid_fields", "expires_after[seconds]"),
    "too soon": (raw(FILE, PURPOSE, (SECONDS, b"3599")), "invalid_fields", "expires_after[seconds]"),
    "too late": (raw(FILE, PURPOSE, (SECONDS, b"2592001")), "invalid_fields", "expires_after[seconds]"),
    "no number": (raw(FILE, PURPOSE, (SECONDS, b"1e4")), "invalid_fields", "expires_after[seconds]"),
    "huge number": (raw(FILE, PURPOSE, (SECONDS, b"9" * 9_000)), "invalid_fields", "expires_after[seconds]"),
    "other anchor": (raw(FILE, PURPOSE, (ANCHOR, b"now")), "invalid_fields", "expires_after[anchor]"),
    "cut off": (raw(PURPOSE, FILE, end=b""), "malformed_body", None),
    "other boundary": (raw(PURPOSE, FILE).replace(b"--b", b"--c"), "malformed_body", None),
    "json": (b'{"purpose": "batch"}', "malformed_body", None),
    "empty": (b"", "malformed_body", None),
    "no headers": (raw(PURPOSE, FILE, end=b"--b\r\n\r\n\r\n--b--"), "malformed_body", None),
    "large field": (raw(FILE, ('name="purpose"', b"x" * 70_000)), "malformed_body", None),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("chunk_bytes", [1_000, 65_536])
def test_a_bad_form_is_refused_and_leaves_nothing(files: ApiBench, case: str, chunk_bytes: int) -> None:
    body, code, param = BAD[case]
    assert refusal(send(files, body, chunk_bytes=chunk_bytes)) == (400, code, param)
    assert left(files) == []


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"content-type": "application/json"}, (415, "unsupported_media_type", None)),
        ({"content-type": ""}, (415, "unsupported_media_type", None)),
        ({"content-type": "multipart/form-data"}, (400, "malformed_body", None)),
        ({"content-encoding": "gzip"}, (415, "unsupported_media_type", None)),
    ],
)
def test_another_type_is_refused_before_the_body_is_read(
    files: ApiBench, headers: dict[str, str], wanted: tuple[int, str, str | None]
) -> None:
    usual = {"content-type": "multipart/form-data; boundary=b"}
    request = BenchRequest("POST", URL, usual | headers, raw(PURPOSE, FILE))
    assert refusal(files.send(request)) == wanted
    assert (request.read_bytes, left(files)) == (0, [])


def test_a_wrong_field_before_the_file_is_refused_before_the_file_is_read(files: ApiBench) -> None:
    body = raw(('name="purpose"', b"vision"), ('name="file"; filename="a"', b"x" * 100_000))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    request = BenchRequest("POST", URL, headers, body, chunk_bytes=500)
    assert refusal(files.send(request)) == (400, "invalid_fields", "purpose")
    assert request.read_bytes == 500


def test_a_file_above_the_limit_is_refused_by_its_length_or_while_it_is_read(files: ApiBench) -> None:
    files.limit(file_bytes=2_500)
    assert uploaded(files, b"x" * 2_500)["bytes"] == 2_500
    before = left(files)
    assert refusal(upload(files, form(b"x" * 2_501))) == (413, "too_large", "file")
    assert left(files) == before
    body = raw(PURPOSE, ('name="file"; filename="a"', b"x" * 1_000_000))
    unsaid = BenchRequest("POST", URL, {"content-type": "multipart/form-data; boundary=b"}, body, chunk_bytes=1_000)
    assert refusal(files.send(unsaid)) == (413, "too_large", "file")
    assert unsaid.read_bytes < 5_000
    said = replace(unsaid, headers={**unsaid.headers, "content-length": str(len(body))}, read_bytes=0)
    reply = files.send(said)
    assert refusal(reply) == (413, "too_large", "file")
    assert "2500 bytes (MAX_FILE_BYTES)" in data(reply)["error"]["message"]
    assert (said.read_bytes, left(files)) == (0, before)


def test_without_a_bucket_a_large_file_is_refused_by_the_binding_s_name(bench: ApiBench) -> None:
    most = limits.FILE_BYTES_MOST_IN_D1
    assert uploaded(bench, b"x" * most)["bytes"] == most
    for length in ({}, {"content-length": "2000000"}):
        reply = send(bench, raw(PURPOSE, ('name="file"; filename="a"', b"x" * (most + 1))), headers=length)
        assert refusal(reply) == (413, "too_large", "file")
        assert "BLOBS" in data(reply)["error"]["message"]
    assert len(bench.database.rows("SELECT * FROM files")) == 1
    assert len(bench.database.rows("SELECT * FROM file_parts")) == 3
    bench.blobs = MemoryR2(bench.now_ms)
    assert uploaded(bench, b"x" * (most + 1))["bytes"] == most + 1


def test_a_tenant_s_files_have_a_limit_together(files: ApiBench) -> None:
    files.limit(files_bytes=5_000)
    first = uploaded(files, b"x" * 3_000)
    before = left(files)
    reply = upload(files, form(b"x" * 2_001))
    assert refusal(reply) == (507, "files_full", "file")
    assert "have 3000 of at most 5000 bytes" in data(reply)["error"]["message"]
    assert reply.headers["x-should-retry"] == "false"
    assert left(files) == before
    uploaded(files, b"x" * 2_000)
    files.call("DELETE", f"/v1/files/{first['id']}")
    uploaded(files, b"x" * 3_000)


def test_a_tenant_s_files_have_a_number(files: ApiBench) -> None:
    files.limit(files_most=2)
    first = uploaded(files)
    uploaded(files)
    before = left(files)
    reply = upload(files)
    assert refusal(reply) == (507, "files_full", "file")
    assert "MAX_FILES" in data(reply)["error"]["message"]
    assert left(files) == before
    files.call("DELETE", f"/v1/files/{first['id']}")
    uploaded(files)


def test_files_leave_the_rest_of_the_database_to_tasks(files: ApiBench) -> None:
    first = uploaded(files, b"x" * 2_500)
    before = left(files)
    share = round(limits.FILES_FRACTION * files.settings.storage_bytes_most)
    files.database.cap.reported = share
    reply = upload(files, form(b"x" * 2_500))
    assert files.submit()["status"] == "pending"
    if files.blobs is None:
        assert refusal(reply) == (507, "storage_full", None)
        assert (reply.headers["Retry-After"], left(files)) == ("300", before)
        files.database.cap.reported = share - 1
        files.call("GET", "/api/tasks")  # an isolate learns the size from any reply
        reply = upload(files, form(b"x" * 2_500))
    assert reply.status == 200
    assert files.call("DELETE", f"/v1/files/{first['id']}").status == 200


def test_a_bucket_that_fails_is_said_and_leaves_nothing(files: ApiBench) -> None:
    if isinstance(files.blobs, MemoryR2):
        files.blobs.fail(INTERNAL, "after", times=limits.BLOB_SENDS)
    else:
        files.database.fail("D1_ERROR: string or blob too big: SQLITE_TOOBIG", passing=1)
    reply = send(files, raw(PURPOSE, FILE))
    assert refusal(reply) == (503, "files_unavailable", None)
    assert reply.headers["Retry-After"] == "5"
    assert left(files) == []
    assert any("files_unavailable" in line for line in files.log_lines)
    assert send(files, raw(PURPOSE, FILE)).status == 200


@pytest.mark.parametrize("paged", [False, True])
def test_lists_go_on_behind_a_file(files: ApiBench, monkeypatch: pytest.MonkeyPatch, paged: bool) -> None:
    """A list goes on behind a file, in both orders, by purpose, and beyond a page that D1 returns."""
    if paged:
        monkeypatch.setattr(limits, "FILE_LIST_PAGE", 2)
    made = []
    for number in range(7):
        made.append(uploaded(files, filename=f"{number}", purpose="user_data" if number % 2 else "batch")["id"])
        files.pass_seconds(1)

    def listed(query: str) -> tuple[list[int], bool]:
        page = data(files.call("GET", f"/v1/files?{query}"))
        found = [made.index(one["id"]) for one in page["data"]]
        assert (page["first_id"], page["last_id"]) == ((made[found[0]], made[found[-1]]) if found else (None, None))
        return found, page["has_more"]

    assert listed("") == ([6, 5, 4, 3, 2, 1, 0], False)
    assert listed("order=asc&limit=3") == ([0, 1, 2], True)
    assert listed(f"order=asc&limit=3&after={made[2]}") == ([3, 4, 5], True)
    assert listed(f"order=asc&limit=3&after={made[5]}") == ([6], False)
    assert listed(f"limit=6&after={made[6]}") == ([5, 4, 3, 2, 1, 0], False)
    assert listed(f"limit=5&after={made[6]}") == ([5, 4, 3, 2, 1], True)
    assert listed("limit=1") == ([6], True)
    assert listed("limit=4") == ([6, 5, 4, 3], True)
    assert listed("limit=7") == ([6, 5, 4, 3, 2, 1, 0], False)
    assert listed("purpose=user_data") == ([5, 3, 1], False)
    assert listed("purpose=batch_output") == ([], False)
    files.call("DELETE", f"/v1/files/{made[3]}")
    assert listed(f"after={made[3]}") == ([2, 1, 0], False)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("purpose=vision", "purpose"),
        ("after=file-1", "after"),
        ("after=batch_1", "after"),
    ],
)
def test_bad_parameters_of_a_list_are_refused(files: ApiBench, query: str, param: str) -> None:
    assert refusal(files.call("GET", f"/v1/files?{query}")) == (400, "invalid_fields", param)


def test_content_is_an_attachment(files: ApiBench) -> None:
    """No browser shows the content or guesses its type. `HEAD` reads no part."""
    file = uploaded(files, b"<script>" * 300, filename="été <1>.html")
    for method in ("GET", "HEAD"):
        reply = files.call(method, f"/v1/files/{file['id']}/content")
        assert reply.headers["Content-Disposition"] == (
            "attachment; filename=\"_t_ _1_.html\"; filename*=UTF-8''%C3%A9t%C3%A9%20%3C1%3E.html"
        )
        assert reply.headers["Content-Type"] == "application/octet-stream"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Content-Length"] == "2400"
    assert reply.body == ""


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("a.jsonl", "a.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.txt", "a b.txt"),
        ("a\r\nX: 1\0.txt", "aX: 1.txt"),
        ("", "upload"),
        ("/", "upload"),
        ("\u202ea", "a"),
        ("報" * 300, "報" * 255),
    ],
)
def test_a_filename_is_made_safe(filename: str, shown: str) -> None:
    assert shown_name(filename) == shown
    assert disposition(shown).isascii()
    assert "\n" not in disposition(shown)


async def _held(bench: ApiBench, size: int) -> MemoryShare:
    share = bench.api.isolate.memory.take("request", size)
    assert share is not None
    return share


def test_an_upload_beyond_the_isolate_s_memory_is_refused(files: ApiBench) -> None:
    share = files.run(_held(files, limits.MEMORY_BYTES))
    refused = upload(files, form(b"x" * 2_500))
    assert (refused.status, refused.headers["Retry-After"], data(refused)["error"]["code"]) == (503, "5", "overloaded")
    assert left(files) == []
    share.close()
    assert upload(files, form(b"x" * 2_500)).status == 200
    assert send(files, raw(FILE, end=b"")).status == 400
    assert files.api.isolate.memory.taken == 0


@pytest.mark.parametrize("size", [500, 2_500], ids=["one part", "three parts"])
@pytest.mark.parametrize("slow", ["begin", "put"])
def test_memory_lent_to_others_while_bytes_are_stored_refuses_the_upload(
    files: ApiBench, monkeypatch: pytest.MonkeyPatch, slow: str, size: int
) -> None:
    store = FileStore if slow == "begin" else R2Bucket if isinstance(files.blobs, MemoryR2) else D1Bucket
    at_once = getattr(store, slow)

    async def late(*given: Any) -> object:
        answer = await at_once(*given)
        await asyncio.sleep(limits.MEMORY_SHARE_SECONDS + 1)
        (await _held(files, limits.MEMORY_BYTES)).close()
        return answer

    monkeypatch.setattr(store, slow, late)
    refused = upload(files, form(b"x" * size))
    assert (refused.status, data(refused)["error"]["code"]) == (503, "overloaded")
    assert left(files) == []


def test_a_large_body_waits_for_memory(files: ApiBench) -> None:
    """A submission of 70 KB is refused with 503 while there is no memory. A small one is not counted."""

    def submitted(size: int) -> int:
        body = json.dumps({"input": "x" * size, "chunk": {"maxChars": 100_000}}).encode()
        headers = {"content-length": str(len(body))}
        return files.send(BenchRequest("POST", "http://localhost:8787/api/tasks", headers, body)).status

    share = files.run(_held(files, limits.MEMORY_BYTES))
    assert [submitted(size) for size in (70_000, 100)] == [503, 202]
    share.close()
    assert submitted(70_000) == 202
    assert files.api.isolate.memory.taken == 0


def test_a_form_that_only_pads_is_refused(files: ApiBench) -> None:
    files.limit(file_bytes=10)
    body = raw(PURPOSE, ('name="file"; filename="a"', b"x")) + b" " * limits.FORM_BYTES_MOST
    assert refusal(send(files, body)) == (413, "too_large", None)
    assert left(files) == []


def test_malformed_ids_cost_no_database_call(files: ApiBench) -> None:
    """They are 404."""
    before = files.database.batches
    for name in ("file-1", "resp_1", ID.upper(), ID + "0", "file-" + "g" * 32):
        assert refusal(files.call("GET", f"/v1/files/{name}")) == (404, "not_found", None)
    assert files.database.batches == before
