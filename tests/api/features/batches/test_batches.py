"""`/v1/batches` in the shapes of OpenAI's SDKs, the batch as a native task, and its retry."""

import re
from typing import Any

import openai
import pytest
from openai.pagination import SyncCursorPage
from openai.types import Batch as SdkBatch
from openai.types.webhooks import BatchCompletedWebhookEvent, BatchFailedWebhookEvent

from src.features.batches.api.fields import NewBatchFields
from src.features.batches.status import ENDED, BatchStatus, batch_status
from src.features.files.file import File
from src.features.files.store import FileStore
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.ids import split_task_key
from src.kernel.domain.keys import Scope
from src.kernel.domain.task import Status
from src.kernel.store.admission import AdmissionStore
from tests.support import batches
from tests.support.api_bench import START_MS, ApiBench, bearer, data
from tests.support.batches import CHAT, Scripted, content, create, ids, key_of, lines, read, run, upload, work
from tests.support.memory_r2 import MemoryR2

START = START_MS // 1000
DAY = 86_400


@pytest.fixture(name="bench", params=["d1", "r2"])
def batch_bench(request: pytest.FixtureRequest) -> ApiBench:
    made = ApiBench()
    if request.param == "r2":
        made.blobs = MemoryR2(made.now_ms)
    return made


def refusal(reply: Reply) -> tuple[int, str, str | None]:
    error = data(reply)["error"]
    assert error["message"]
    return reply.status, error["code"], error["param"]


def post(bench: ApiBench, body: object, **headers: str) -> Reply:
    return bench.call("POST", "/v1/batches", body, {name.replace("_", "-"): one for name, one in headers.items()})


def test_a_batch_runs_from_its_file_to_its_output(bench: ApiBench) -> None:
    made = create(bench, lines(3), metadata={"night": "1"})
    batch = SdkBatch.model_validate(made, strict=True)
    assert SdkBatch.model_fields.keys() <= made.keys()
    assert made.keys() - SdkBatch.model_fields.keys() == {"onceover"}
    assert (batch.status, batch.created_at, batch.expires_at) == ("validating", START, START + DAY)
    assert (batch.endpoint, batch.completion_window, batch.metadata) == (CHAT, "24h", {"night": "1"})
    assert made["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    missing = ("model", "errors", "output_file_id", "error_file_id", "in_progress_at", "finalizing_at", "completed_at")
    assert [made[name] for name in missing] == [None] * len(missing)
    assert read(bench, batch.id) == made

    ended = run(bench, made)
    batch = SdkBatch.model_validate(ended, strict=True)
    assert (batch.status, batch.model, batch.errors, batch.error_file_id) == ("completed", "demo", None, None)
    assert ended["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    assert ended["onceover"]["usage"] == {"modelCalls": 3, "minimumCalls": 3, "inDoubt": 0, "cost": None}
    assert None not in (batch.in_progress_at, batch.finalizing_at, batch.completed_at)
    assert batch.output_file_id is not None
    found = content(bench, batch.output_file_id)
    assert ids(found) == ["line-0", "line-1", "line-2"]
    assert ended["usage"]["total_tokens"] == sum(one["response"]["body"]["usage"]["total_tokens"] for one in found)
    file = data(bench.call("GET", f"/v1/files/{batch.output_file_id}"))
    assert (file["purpose"], file["filename"]) == ("batch_output", f"{batch.id}_output.jsonl")


BODY = {"input_file_id": "file-" + "0" * 32, "endpoint": CHAT, "completion_window": "24h"}
ANCHORED = {"anchor": "created_at"}
# For each parameter, values of its outermost field that are refused under the parameter's name.
FLAWS: dict[str, list[Any]] = {
    "input_file_id": [BODY["input_file_id"], "x", None],
    "endpoint": ["/v1/embeddings", None],
    "completion_window": ["0h", "169h", "24", "1d", "024h", 24],
    "metadata": [{str(n): "" for n in range(17)}, {"a": "\0"}],
    "metadata.a": [{"a": 1}],
    "output_expires_after.seconds": [ANCHORED, *(ANCHORED | {"seconds": n} for n in (3_599, 2_592_001))],
    "output_expires_after.anchor": [{"anchor": "now", "seconds": 3_600}],
    "onceover.maxModelCalls": [{"maxModelCalls": 0}],
}
UNSUPPORTED = {"onceover.reduce": {"reduce": "merge"}, "priority": "high"}
REFUSED = [
    *(("invalid_fields", param, value) for param, values in FLAWS.items() for value in values),
    *(("unsupported_parameter", *one) for one in UNSUPPORTED.items()),
]


@pytest.mark.parametrize(("code", "param", "value"), REFUSED)
def test_each_wrong_field_is_refused_by_name(bench: ApiBench, code: str, param: str, value: Any) -> None:
    assert refusal(post(bench, BODY | {param.partition(".")[0]: value})) == (400, code, param)
    assert bench.database.rows("SELECT 1 FROM tasks") == bench.database.rows("SELECT 1 FROM batches") == []


def test_a_file_of_another_purpose_is_refused(bench: ApiBench) -> None:
    text = upload(bench, "text", purpose="user_data")
    assert refusal(post(bench, BODY | {"input_file_id": text})) == (400, "invalid_fields", "input_file_id")
    file = upload(bench, lines(1))
    reply = bench.call("POST", "/v1/batches", BODY | {"input_file_id": file})
    output = run(bench, data(reply))["output_file_id"]
    assert refusal(post(bench, BODY | {"input_file_id": output})) == (400, "invalid_fields", "input_file_id")


@pytest.mark.parametrize(("window", "hours"), [("1h", 1), ("24h", 24), ("168h", 168)])
def test_the_window_is_the_deadline(bench: ApiBench, window: str, hours: int) -> None:
    made = create(bench, lines(1), completion_window=window)
    assert (made["completion_window"], made["expires_at"]) == (window, START + hours * 3_600)


def test_lists_are_pages_newest_first(bench: ApiBench) -> None:
    file = upload(bench, lines(1))
    made: list[str] = []
    for _ in range(3):
        made.insert(0, data(post(bench, BODY | {"input_file_id": file}))["id"])
        bench.pass_seconds(1)
    listed = data(bench.call("GET", "/v1/batches?limit=2"))
    page = SyncCursorPage[SdkBatch].model_validate(listed, strict=True)
    assert ([one.id for one in page.data], page.has_more) == (made[:2], True)
    assert (listed["first_id"], listed["last_id"]) == (made[0], made[1])
    rest = data(bench.call("GET", f"/v1/batches?after={made[1]}"))
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[2:], False)
    assert data(bench.call("GET", f"/v1/batches?after={made[2]}"))["first_id"] is None
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("after=x", "after")):
        assert refusal(bench.call("GET", f"/v1/batches?{query}")) == (400, "invalid_fields", param)


def test_a_repeated_request_is_one_batch(bench: ApiBench) -> None:
    file = upload(bench, lines(1))
    body = BODY | {"input_file_id": file}
    first = post(bench, body, idempotency_key="a")
    second = post(bench, body, idempotency_key="a")
    assert (data(first)["id"], second.headers["Idempotency-Replayed"]) == (data(second)["id"], "true")
    assert refusal(post(bench, body | {"completion_window": "1h"}, idempotency_key="a"))[:2] == (
        422,
        "idempotency_mismatch",
    )
    lost = post(bench, body, x_stainless_retry_count="0")
    joined = post(bench, body, x_stainless_retry_count="1")
    assert (data(lost)["id"], joined.headers["Idempotency-Replayed"]) == (data(joined)["id"], "true")
    assert data(post(bench, body, x_stainless_retry_count="0"))["id"] != data(lost)["id"]


def test_tenants_and_scopes_are_kept_apart(keyed: ApiBench) -> None:
    own = bearer(keyed.make_key())
    other = bearer(keyed.make_key(tenant="acme"))
    operator = bearer(keyed.make_key(Scope.READ, Scope.WRITE, Scope.OPERATOR))
    file = upload(keyed, lines(1), **other)
    reply = keyed.call("POST", "/v1/batches", BODY | {"input_file_id": file}, other)
    made = data(reply)
    path = f"/v1/batches/{made['id']}"
    assert keyed.call("GET", path, headers=own).status == 404
    assert keyed.call("POST", f"{path}/cancel", headers=own).status == 404
    assert data(keyed.call("GET", "/v1/batches", headers=own))["data"] == []
    body = BODY | {"input_file_id": file}
    assert refusal(keyed.call("POST", "/v1/batches", body, own)) == (400, "invalid_fields", "input_file_id")
    assert keyed.call("GET", f"{path}?tenant=acme", headers=own).status == 403
    assert data(keyed.call("GET", f"{path}?tenant=acme", headers=operator))["id"] == made["id"]
    writer = bearer(keyed.make_key(Scope.WRITE, tenant="acme"))
    reader = bearer(keyed.make_key(Scope.READ, tenant="acme"))
    assert keyed.call("GET", path, headers=writer).status == 403
    assert keyed.call("POST", "/v1/batches", body, reader).status == 403
    reply = keyed.call("POST", "/v1/batches", body | {"metadata": {"a": "secret"}}, writer)
    assert (reply.status, data(reply)["metadata"]) == (200, {})


def test_a_batch_is_a_task_of_the_native_api(bench: ApiBench) -> None:
    made = create(bench, lines(2), metadata={"name": "nightly"})
    path = made["onceover"]["task"]
    assert data(bench.call("GET", f"{path}/chunks")) == {"chunks": [], "nextCursor": None, "outputFile": None}
    task = data(bench.call("GET", path))
    assert (task["kind"], task["batch"], task["name"]) == ("batch", made["id"], "nightly")
    assert (task["progress"]["total"], task["usage"]["minimumCalls"], task["result"]) == (None, 0, None)
    assert task["request"]["chunk"] == {"maxChars": None, "overlapChars": 0}
    assert [one["kind"] for one in data(bench.call("GET", "/api/tasks"))["tasks"]] == ["batch"]
    ended = run(bench, made)
    task = data(bench.call("GET", f"{path}?include=chunks"))
    assert (task["status"], task["progress"]["total"], task["progress"]["completed"]) == ("completed", 2, 2)
    assert (task["result"], task["chunks"]) == (None, [])
    for query in ("", "?limit=1", "?cursor=1"):
        pointer = {"chunks": [], "nextCursor": None, "outputFile": ended["output_file_id"]}
        assert data(bench.call("GET", f"{path}/chunks{query}")) == pointer
    assert data(bench.call("POST", f"{path}/retry"))["code"] == "not_retryable"
    assert bench.call("GET", f"/v1/responses/resp_{task['id']}").status == 404
    assert bench.call("DELETE", path).status == 204
    assert bench.call("GET", f"/v1/batches/{made['id']}").status == 404
    assert bench.call("GET", f"/v1/files/{ended['output_file_id']}").status == 404


def test_a_budget_ends_the_batch(bench: ApiBench) -> None:
    ended = run(bench, create(bench, lines(4), onceover={"maxModelCalls": 3}))
    assert ended["status"] == "failed"
    assert [(one["code"], one["line"]) for one in ended["errors"]["data"]] == [("budget_exhausted", None)]
    assert ended["request_counts"]["total"] == 4
    counts = ended["request_counts"]
    assert (counts["completed"], counts["failed"]) == (3, 1)
    assert len(content(bench, ended["output_file_id"])) == 3
    (error,) = content(bench, ended["error_file_id"])
    assert error["error"]["code"] == "batch_failed"


def test_a_retry_is_a_new_batch_of_the_lines_without_an_answer(bench: ApiBench) -> None:
    old = run(bench, create(bench, lines(6), onceover={"maxModelCalls": 2}, metadata={"a": "b"}))
    missing = ids(content(bench, old["error_file_id"]))
    retry = f"{old['onceover']['task']}/retry"
    reply = bench.call("POST", retry, {"maxModelCalls": 9})
    assert reply.status == 202
    task = data(reply)
    assert (task["kind"], task["maxModelCalls"], reply.headers["Location"]) == ("batch", 9, task["links"]["self"])
    assert task["retryOf"] == split_task_key(key_of(old))[1]
    again = bench.call("POST", retry, {"maxModelCalls": 9})
    assert (data(again)["id"], again.headers["Idempotency-Replayed"]) == (task["id"], "true")
    new = read(bench, task["batch"])
    assert new["onceover"]["retryOf"] == old["id"]
    assert "retryOf" not in old["onceover"]
    assert (new["metadata"], new["endpoint"], new["completion_window"]) == ({"a": "b"}, CHAT, "24h")
    ended = run(bench, new)
    assert (ended["status"], ended["onceover"]["usage"]["modelCalls"]) == ("completed", 4)
    assert ids(content(bench, ended["output_file_id"])) == missing
    assert read(bench, old["id"]) == old
    file = data(bench.call("GET", f"/v1/files/{ended['input_file_id']}"))
    assert file["filename"] == f"{old['id']}_retry.jsonl"


def test_only_an_ended_batch_with_failed_lines_is_retried(bench: ApiBench) -> None:
    def refused_retry(batch: batches.Batch) -> None:
        before = bench.database.rows("SELECT id FROM files")
        reply = bench.call("POST", f"{batch['onceover']['task']}/retry")
        assert (reply.status, data(reply)["code"]) == (409, "not_retryable")
        assert bench.database.rows("SELECT id FROM files") == before

    refused_retry(create(bench, lines(1)))
    refused_retry(run(bench, create(bench, "{")))
    refused_retry(run(bench, create(bench, lines(1))))
    gone = run(bench, create(bench, lines(2), onceover={"maxModelCalls": 1}))
    assert bench.call("DELETE", f"/v1/files/{gone['input_file_id']}").status == 200
    refused_retry(gone)


def test_responses_are_an_endpoint_of_batches(bench: ApiBench) -> None:
    made = create(bench, lines(2, batches.RESPONSES), endpoint=batches.RESPONSES)
    found = content(bench, run(bench, made)["output_file_id"])
    assert {one["response"]["body"]["object"] for one in found} == {"response"}


EVENTS = ["batch.completed", "batch.failed", "batch.expired", "batch.cancelled", "task.completed", "task.failed"]
RECEIVER = {"name": "one", "url": "https://hooks.example.com/a", "event_types": EVENTS}


ENDS = [(lines(1), "batch.completed", BatchCompletedWebhookEvent), ("{", "batch.failed", BatchFailedWebhookEvent)]


@pytest.mark.parametrize(("content_of", "event", "model"), ENDS)
def test_a_webhook_tells_about_the_end(
    bench: ApiBench,
    content_of: str,
    event: str,
    model: type[BatchCompletedWebhookEvent] | type[BatchFailedWebhookEvent],
) -> None:
    secret = data(bench.call("POST", "/v1/webhook_endpoints", RECEIVER))["signing_secret"]
    ended = run(bench, create(bench, content_of))
    bench.settle()
    (message,) = bench.courier.messages
    assert message.event["type"] == event
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    client.webhooks.verify_signature(message.body, dict(message.headers), tolerance=10**9)
    told = model.model_validate(message.event, strict=True)
    assert told.data.id == ended["id"]
    deliveries = data(bench.call("GET", f"{ended['onceover']['task']}/deliveries"))["deliveries"]
    assert [one["type"] for one in deliveries] == [event]


def test_metrics_count_batches_and_their_lines() -> None:
    bench = ApiBench(provider=Scripted(lambda text: None, seconds=1.0))

    def found() -> dict[str, float]:
        text = bench.call("GET", "/api/metrics").body
        pattern = r'^onceover_(batches\{status="(\w+)"\}|batch_lines) (\d+)$'
        return {of or "lines": float(value) for _, of, value in re.findall(pattern, text, re.MULTILINE)}

    none = dict.fromkeys(("validating", "in_progress", "finalizing", "cancelling", "lines"), 0)
    assert found() == none
    made = create(bench, lines(20))
    assert found() == none | {"validating": 1}
    for _ in range(2):  # the first run checks the lines
        work(bench, made, 1.0)
    done = read(bench, made["id"])["request_counts"]["completed"]
    assert 0 < done < 20
    assert found() == none | {"in_progress": 1, "lines": 20 - done}
    bench.call("POST", f"{made['onceover']['task']}/cancel")
    assert found() == none | {"cancelling": 1, "lines": 20 - done}
    run(bench, made)
    assert found() == none


CASES = [
    (Status.PENDING, False, False, False, "validating"),
    (Status.PROCESSING, False, False, False, "validating"),
    (Status.PENDING, True, False, False, "in_progress"),
    (Status.PROCESSING, True, False, False, "in_progress"),
    (Status.COMPLETED, True, False, False, "finalizing"),
    (Status.COMPLETED, True, False, True, "completed"),
    (Status.FAILED, False, False, False, "finalizing"),
    (Status.FAILED, False, False, True, "failed"),
    (Status.FAILED, True, False, False, "finalizing"),
    (Status.FAILED, True, False, True, "failed"),
    (Status.FAILED, True, True, False, "finalizing"),
    (Status.FAILED, True, True, True, "expired"),
    (Status.FAILED, False, True, True, "expired"),
    (Status.CANCELLED, False, False, False, "cancelling"),
    (Status.CANCELLED, True, False, False, "cancelling"),
    (Status.CANCELLED, True, False, True, "cancelled"),
    (Status.CANCELLED, False, False, True, "cancelled"),
]


@pytest.mark.parametrize(("task", "is_valid", "is_expired", "has_ended", "status"), CASES)
def test_the_status_follows_from_the_task_and_the_files(
    task: Status, is_valid: bool, is_expired: bool, has_ended: bool, status: str
) -> None:
    """The table of a batch's statuses in decision 0051."""
    assert batch_status(task, is_valid=is_valid, is_expired=is_expired, has_ended=has_ended) == status


def test_every_status_has_a_case() -> None:
    """The statuses that end a batch are recognized as such."""
    assert {case[-1] for case in CASES} == set(BatchStatus)
    assert {case[-1] for case in CASES if case[3]} == ENDED


def test_a_native_cancellation_cancels_the_batch(bench: ApiBench) -> None:
    made = create(bench, lines(2))
    assert bench.call("POST", f"{made['onceover']['task']}/cancel").status == 200
    assert run(bench, made)["status"] == "cancelled"


def test_a_window_is_any_whole_number_of_hours_up_to_the_limit() -> None:
    pattern = NewBatchFields.model_json_schema()["properties"]["completion_window"]["pattern"]
    taken = [hours for hours in range(2_000) if re.search(pattern, f"{hours}h")]
    assert taken == list(range(1, limits.BATCH_WINDOW_HOURS_MOST + 1))


def test_a_retry_needs_room_for_one_more_file(bench: ApiBench) -> None:
    """At the tenant's number of files the answer names the limit, as after an upload, and nothing is left behind."""
    old = run(bench, create(bench, lines(3), onceover={"maxModelCalls": 1}))
    bench.limit(files_most=1)
    before = bench.database.rows("SELECT id FROM files"), bench.database.rows("SELECT * FROM file_use")
    reply = bench.call("POST", f"{old['onceover']['task']}/retry")
    assert (reply.status, data(reply)["code"]) == (507, "files_full")
    assert "MAX_FILES" in data(reply)["detail"]
    assert (bench.database.rows("SELECT id FROM files"), bench.database.rows("SELECT * FROM file_use")) == before


def test_of_two_retries_at_once_the_second_leaves_no_copy(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run(bench, create(bench, lines(3), onceover={"maxModelCalls": 1}))
    first = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    files = bench.database.rows("SELECT id FROM files ORDER BY id")

    async def unknown(*_: object) -> None:
        """Find no batch that the key has."""

    monkeypatch.setattr(AdmissionStore, "key_holder", unknown)
    second = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    assert second["batch"] == first["batch"]
    assert bench.database.rows("SELECT id FROM files ORDER BY id") == files


def test_a_retry_reads_few_lines_at_once(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of the old input gives as many whole lines as the limit allows, and all reads together give each line."""
    old = run(bench, create(bench, lines(7), onceover={"maxModelCalls": 1}))
    missing = ids(content(bench, old["error_file_id"]))
    assert missing == [f"line-{number}" for number in range(1, 7)]
    line_bytes = len(lines(1))
    monkeypatch.setattr(limits, "RETRY_READ_BYTES_MOST", 4 * line_bytes - 2)  # one byte too few for four lines
    sizes: list[int] = []
    read_part = FileStore.read

    async def noted(self: FileStore, file: File, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return await read_part(self, file, start, end)

    monkeypatch.setattr(FileStore, "read", noted)
    task = data(bench.call("POST", f"{old['onceover']['task']}/retry"))
    assert sizes == [3 * line_bytes - 1] * 2
    ended = run(bench, read(bench, task["batch"]))
    assert ids(content(bench, ended["output_file_id"])) == missing
