"""`inputFile`: a text in an uploaded file, in the native API and in `/v1/responses`."""

from dataclasses import replace
from typing import Any

import pytest
from openai.types.responses import Response
from openai.types.responses.response_item_list import ResponseItemList

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import handle
from src.kernel.domain import limits
from tests.support.api_bench import ApiBench, BenchRequest, data
from tests.support.batches import upload
from tests.support.event_streams import read_events
from tests.support.memory_r2 import MemoryR2

TEXT = "# Head\n\n" + "Ada met Grace in London. 天地玄黄。👍🏽 é\r\n" * 40
UNKNOWN = "file-" + "0" * 32
CHUNK = {"maxChars": 100, "overlapChars": 10}


@pytest.fixture(name="bench")
def bucket_bench() -> ApiBench:
    made = ApiBench()
    made.blobs = MemoryR2(made.now_ms)
    return made


def text_file(bench: ApiBench, content: str | bytes = TEXT, purpose: str = "user_data") -> str:
    return upload(bench, content, purpose=purpose)


def submit(bench: ApiBench, file_id: str, query: str = "", **fields: Any) -> Reply:
    return bench.call("POST", f"/api/tasks{query}", {"inputFile": file_id, "chunk": CHUNK, **fields})


def fault(reply: Reply) -> tuple[int, str, str]:
    (error,) = data(reply)["errors"]
    return reply.status, error["field"], error["message"]


def test_a_text_in_a_file_has_the_chunks_of_the_same_input(bench: ApiBench) -> None:
    file_id = text_file(bench)
    accepted = submit(bench, file_id, reduce="none", metadata={"a": 1})
    assert accepted.status == 202
    view = data(accepted)
    assert (view["progress"]["total"], view["usage"]["minimumCalls"], view["name"]) == (None, 0, None)
    assert (view["request"]["inputFile"], view["request"]["inputCharacters"]) == (file_id, None)
    plain = data(bench.call("POST", "/api/tasks", {"input": TEXT, "chunk": CHUNK, "reduce": "none"}))
    done, plain = bench.finish(view["id"]), bench.finish(plain["id"])
    assert done["status"] == plain["status"] == "completed"
    assert done["result"] == plain["result"]
    assert done["progress"] == plain["progress"]
    assert done["request"] == plain["request"] | {"inputFile": file_id}
    assert done["usage"]["modelCalls"] == done["usage"]["minimumCalls"] == done["progress"]["total"]
    listed = [data(bench.call("GET", f"/api/tasks/{one['id']}/chunks"))["chunks"] for one in (done, plain)]
    spans = [[(one["start"], one["end"], one["output"]) for one in chunks] for chunks in listed]
    assert spans[0] == spans[1]
    assert data(bench.call("GET", f"/api/tasks/{view['id']}?include=input"))["input"] is None


def test_a_dry_run_plans_the_chunks_of_a_file(bench: ApiBench) -> None:
    file_id = text_file(bench)
    planned = submit(bench, file_id, "?dryRun=true", reduce="merge", instructions="Say it.")
    plain = {"input": TEXT, "chunk": CHUNK, "reduce": "merge", "instructions": "Say it."}
    assert planned.status == 200
    expected = data(bench.call("POST", "/api/tasks?dryRun=true", plain))
    assert data(planned) == expected | {"request": expected["request"] | {"inputFile": file_id}}
    assert not bench.database.rows("SELECT 1 FROM tasks")
    small = submit(bench, file_id, "?dryRun=true", maxModelCalls=1)
    assert fault(small)[:2] == (422, "maxModelCalls")
    bad = submit(bench, text_file(bench, TEXT.encode() + b"\xff"), "?dryRun=true")
    assert fault(bad) == (422, "inputFile", f"the file is not UTF-8: byte {len(TEXT.encode())} is 0xff")
    assert fault(submit(bench, UNKNOWN, "?dryRun=true")) == (422, "inputFile", "is not the id of an uploaded file")


def test_a_dry_run_on_the_free_plan_reads_short_files_alone(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.settings = replace(bench.settings, plan="free")
    file_id = text_file(bench)
    assert submit(bench, file_id, "?dryRun=true").status == 200
    monkeypatch.setattr(limits, "INPUT_BYTES_MOST", len(TEXT.encode()) - 1)
    status, field, message = fault(submit(bench, file_id, "?dryRun=true"))
    assert (status, field) == (422, "inputFile")
    assert "PLAN=free" in message


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "input", "is required, or inputFile"),
        ({"input": None}, "input", "is required, or inputFile"),
        ({"input": "x", "inputFile": UNKNOWN}, "inputFile", "is set, and input too: use one of them"),
        ({"inputFile": UNKNOWN}, "inputFile", "is not the id of an uploaded file"),
        ({"inputFile": "file-x"}, "inputFile", "is not the id of an uploaded file"),
        ({"inputFile": 1}, "inputFile", "must be a string"),
    ],
)
def test_a_wrong_input_is_named(bench: ApiBench, fields: dict[str, Any], field: str, message: str) -> None:
    assert fault(bench.call("POST", "/api/tasks", fields)) == (422, field, message)
    assert not bench.database.rows("SELECT 1 FROM tasks")


def test_a_wrong_file_is_refused(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = fault(submit(bench, text_file(bench, purpose="batch")))
    assert batch == (422, "inputFile", "is a file of the purpose batch, and a text needs one of the purpose user_data")
    file_id = text_file(bench)
    monkeypatch.setattr(limits, "FILE_TEXT_BYTES_MOST", len(TEXT.encode()))
    assert submit(bench, file_id).status == 202
    monkeypatch.setattr(limits, "FILE_TEXT_BYTES_MOST", len(TEXT.encode()) - 1)
    assert fault(submit(bench, file_id))[:2] == (413, "inputFile")
    assert len(bench.database.rows("SELECT 1 FROM tasks")) == 1


def test_without_a_bucket_it_is_refused() -> None:
    bench = ApiBench()
    status, field, message = fault(submit(bench, text_file(bench)))
    assert (status, field) == (422, "inputFile")
    assert "BLOBS" in message


def test_a_repetition_finds_the_task(bench: ApiBench) -> None:
    file_id = text_file(bench)
    key = {"idempotency-key": "one"}
    body = {"inputFile": file_id}
    first = bench.call("POST", "/api/tasks", body, key)
    again = bench.call("POST", "/api/tasks", body, key)
    assert (first.status, again.status, data(again)["id"]) == (202, 202, data(first)["id"])
    assert again.headers["Idempotency-Replayed"] == "true"
    other = bench.call("POST", "/api/tasks", {"inputFile": text_file(bench)}, key)
    assert (other.status, data(other)["code"]) == (422, "idempotency_mismatch")
    bench.call("POST", f"/api/tasks/{data(first)['id']}/cancel")
    assert bench.call("DELETE", f"/v1/files/{file_id}").status == 200
    assert data(bench.call("POST", "/api/tasks", body, key))["id"] == data(first)["id"]
    gone = bench.call("POST", "/api/tasks", body, {"idempotency-key": "two"})
    assert fault(gone) == (422, "inputFile", "is not the id of an uploaded file")


def test_the_file_is_in_use_while_the_task_reads_it(bench: ApiBench) -> None:
    file_id = text_file(bench)
    task_id = data(submit(bench, file_id))["id"]
    refused = bench.call("DELETE", f"/v1/files/{file_id}")
    assert (refused.status, data(refused)["error"]["code"]) == (409, "file_in_use")
    assert bench.call("POST", f"/api/tasks/{task_id}/cancel").status == 200
    assert bench.call("POST", f"/api/tasks/{task_id}/retry").status == 202
    assert bench.call("DELETE", f"/v1/files/{file_id}").status == 409
    assert bench.call("POST", f"/api/tasks/{task_id}/cancel").status == 200
    assert bench.call("DELETE", f"/v1/files/{file_id}").status == 200
    retried = bench.call("POST", f"/api/tasks/{task_id}/retry")
    assert (retried.status, data(retried)["code"]) == (409, "not_retryable")
    assert "file" in data(retried)["detail"]


def test_another_tenants_file_is_unknown(bench: ApiBench) -> None:
    file_id = text_file(bench)
    bench.database.rows("UPDATE files SET id = 'other' || substr(id, instr(id, ':')) RETURNING id")
    assert fault(submit(bench, file_id)) == (422, "inputFile", "is not the id of an uploaded file")


def test_a_text_that_cannot_be_cut_fails_the_task(bench: ApiBench) -> None:
    task_id = data(submit(bench, text_file(bench, b"ab\xff")))["id"]
    done = bench.finish(task_id)
    assert done["error"] == {
        "code": "invalid_input",
        "message": "the file is not UTF-8: byte 2 is 0xff",
        "retryable": False,
    }
    assert (done["progress"]["total"], done["usage"]["modelCalls"]) == (None, 0)
    listed = data(bench.call("GET", "/api/tasks?code=invalid_input"))["tasks"]
    assert [one["id"] for one in listed] == [task_id]


def test_events_from_before_the_cut_have_the_chunks_places(bench: ApiBench) -> None:
    task_id = data(submit(bench, text_file(bench), reduce="none"))["id"]
    came: list[str] = []

    async def follow() -> None:
        url = f"http://localhost:8787/api/tasks/{task_id}/events"
        reply = await handle(BenchRequest("GET", url, {}), bench.api, CATALOGUE)
        assert reply.parts is not None
        came.extend([part async for part in reply.parts])

    reading = bench.loop.create_task(follow())
    bench.pass_seconds(1)
    done = bench.finish(task_id)
    bench.run(reading)
    events = read_events("".join(came))
    assert events[1].json["total"] is None
    found = [event.json for event in events if event.name == "chunk"]
    chunks = data(bench.call("GET", f"/api/tasks/{task_id}/chunks"))["chunks"]
    assert len(found) == done["progress"]["total"]
    assert [(one["start"], one["end"]) for one in found] == [(one["start"], one["end"]) for one in chunks]


def response_of(bench: ApiBench, content: list[dict[str, Any]], **fields: Any) -> Reply:
    message = {"role": "user", "content": content}
    return bench.call("POST", "/v1/responses", {"background": True, "input": [message], **fields})


def test_a_response_reads_a_file(bench: ApiBench) -> None:
    file_id = text_file(bench)
    parts = [{"type": "input_file", "file_id": file_id}, {"type": "input_text", "text": "Who met whom?"}]
    own = {"reduce": "concat", "chunk": CHUNK}
    reply = response_of(bench, parts, instructions="Be short.", onceover=own)
    assert reply.status == 200, reply
    made = Response.model_validate(data(reply), strict=False)
    assert data(reply)["onceover"]["progress"]["total"] is None
    task_id = data(reply)["onceover"]["task"].rpartition("/")[2]
    done = bench.finish(task_id)
    assert done["status"] == "completed"
    assert done["request"]["instructions"] == "Be short.\n\nWho met whom?"
    plain = data(bench.call("POST", "/api/tasks", {"input": TEXT, "chunk": CHUNK}))
    whole = data(bench.call("GET", f"/v1/responses/{made.id}"))
    assert whole["output"][0]["content"][0]["text"] == bench.finish(plain["id"])["result"]["output"]
    items = ResponseItemList.model_validate(data(bench.call("GET", f"/v1/responses/{made.id}/input_items")))
    (item,) = items.data
    assert item.model_dump()["content"][0]["file_id"] == file_id


def test_wrong_files_of_a_response_are_named(bench: ApiBench) -> None:
    file_id = text_file(bench)
    part = {"type": "input_file", "file_id": file_id}

    def refusal(*parts: dict[str, Any], role: str = "user") -> tuple[int, str, str]:
        body = {"background": True, "input": [{"role": role, "content": list(parts)}]}
        error = data(reply := bench.call("POST", "/v1/responses", body))["error"]
        return reply.status, error["code"], error["param"]

    assert refusal(part, part) == (400, "unsupported_parameter", "input[0].content[1].file_id")
    assert refusal(part, role="system")[:2] == (400, "unsupported_parameter")
    assert refusal(part | {"detail": "low"}) == (400, "unsupported_parameter", "input[0].content[0].detail")
    assert refusal({"type": "input_file", "file_data": "x"})[:2] == (400, "unsupported_parameter")
    assert refusal({"type": "input_file"}) == (400, "invalid_fields", "input[0].content[0].file_id")
    assert refusal(part | {"file_id": UNKNOWN}) == (400, "invalid_fields", "input[0].content[0].file_id")
    assert not bench.database.rows("SELECT 1 FROM tasks")
