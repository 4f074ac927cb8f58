"""A key without the scope `read` sees the state and cost of its tasks, but none of their texts."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import Fail, Finish
from tests.api.test_large_answers import FAILURE
from tests.support.api_bench import ENDPOINT, WEBHOOK_KEY, ApiBench, bearer, data

CANARY = "canary"  # the word `canary` is in every text of the client and of the model
TEXT = f"{CANARY} 1\n\n{CANARY} 2\n\n{CANARY} 3"
FIELDS: dict[str, Any] = {
    "input": TEXT,
    "instructions": f"instructions with a {CANARY}",
    "metadata": {"of": f"metadata {CANARY}"},
}
OPTIONS = {"stop": [f"stop {CANARY}"]}
NATIVE = {**FIELDS, "modelOptions": OPTIONS, "chunk": {"maxChars": 10}}
RESPONSE = {**FIELDS, "background": True, "onceover": {"reduce": "concat", "modelOptions": OPTIONS}}
KEY = {"idempotency-key": "one"}


@pytest.fixture(params=[False, True], ids=["small", "large"])
def keyed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiBench]:
    """Make a deployment with keys. In the variant `large`, results are read separately and sent in parts."""
    if request.param:
        monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 20)
    made = ApiBench(settings=Settings(provider="demo", chunk_chars=10, webhook_key=WEBHOOK_KEY), keys=True)
    yield made
    made.close()


def complete(bench: ApiBench, task_id: str) -> None:
    """Let a worker finish the task, with `canary`, which no key without `read` may see, in each output."""
    claim = bench.claim(task_id)
    outputs = {index: f"{CANARY} output {index}" for index in range(claim.total)}
    bench.work(claim, outputs, Finish(bench.settings.retention_ms, keep_name=True))


def fail(bench: ApiBench, task_id: str) -> None:
    outputs = {0: f"{CANARY} output"}
    bench.work(bench.claim(task_id), outputs, Fail(bench.settings.retention_ms, FAILURE), failed=FAILURE)


def check(writer: Reply, status: int) -> Any:
    assert writer.status == status, writer
    assert CANARY not in writer.body
    assert CANARY not in str(writer.headers)
    return data(writer) if writer.body else None


class Walk:
    """Makes every call that accepts a key with `write`, and records which calls were made."""

    def __init__(self, bench: ApiBench) -> None:
        self.bench = bench
        self.writer = bearer(bench.make_key(Scope.WRITE))
        self.admin = bearer(bench.make_key())
        self.made: set[tuple[str, str]] = set()

    def call(self, method: str, template: str, status: int, body: object = None, at: str = "", **headers: str) -> Any:
        self.made.add((method, template))
        path = template.replace("{id}", at)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return check(self.bench.call(method, path, body, self.writer | named), status)

    def native(self) -> None:
        """Make each call about a native task: the task is submitted, replayed, retried, cancelled and erased."""
        made = self.call("POST", "/api/tasks", 202, NATIVE, idempotency_key="one")
        task_id = made["id"]
        assert self.call("POST", "/api/tasks", 202, NATIVE, idempotency_key="one")["id"] == task_id
        fail(self.bench, task_id)
        assert self.call("POST", "/api/tasks", 202, NATIVE, idempotency_key="one")["status"] == "failed"
        assert self.call("POST", "/api/tasks/{id}/retry", 202, at=task_id)["status"] == "pending"
        assert self.call("POST", "/api/tasks/{id}/cancel", 200, at=task_id)["status"] == "cancelled"
        assert self.call("POST", "/api/tasks/{id}/cancel", 200, at=task_id)["status"] == "cancelled"
        self.call("POST", "/api/tasks/{id}/retry", 202, at=task_id)
        complete(self.bench, task_id)
        again = self.call("POST", "/api/tasks", 202, NATIVE, idempotency_key="one")
        assert (again["status"], again["result"], again["request"]["instructions"]) == ("completed", None, "")
        assert again["usage"]["modelCalls"] > 0
        self.call("POST", "/api/tasks/{id}/retry", 409, at=task_id)
        self.call("POST", "/api/tasks/{id}/cancel", 409, at=task_id)
        # A key that has the scope `read` gets the whole text from the same replay.
        whole = self.bench.call("POST", "/api/tasks", NATIVE, self.admin | KEY)
        assert whole.status == 202
        assert f"{CANARY} output" in str(data(whole)["result"])
        assert data(whole)["request"]["instructions"] == FIELDS["instructions"]
        self.call("DELETE", "/api/tasks/{id}", 204, at=task_id)

    def many(self) -> None:
        task_id = self.call("POST", "/api/tasks", 202, NATIVE)["id"]
        fail(self.bench, task_id)
        for body, status in (({"dryRun": True}, 200), ({}, 202)):
            self.call("POST", "/api/tasks/retry", status, body)
        for body, status in (({"dryRun": True}, 200), ({}, 202)):
            self.call("POST", "/api/tasks/cancel", status, body)

    def responses(self) -> None:
        """Make each call about responses; they are replayed by an idempotency key and by the retry count of an SDK."""
        made = self.call("POST", "/v1/responses", 200, RESPONSE, x_stainless_retry_count="0")
        name = made["id"]
        for count, status in (("1", "queued"), ("2", "completed")):
            if status == "completed":
                complete(self.bench, name.removeprefix("resp_"))
            joined = self.call("POST", "/v1/responses", 200, RESPONSE, x_stainless_retry_count=count)
            assert (joined["id"], joined["status"], joined["output"]) == (name, status, [])
            assert joined["instructions"] is None
        self.call("POST", "/v1/responses/{id}/cancel", 200, at=name)
        self.call("DELETE", "/v1/responses/{id}", 200, at=name)
        other = self.call("POST", "/v1/responses", 200, RESPONSE, idempotency_key="two")["id"]
        assert self.call("POST", "/v1/responses/{id}/cancel", 200, at=other)["status"] == "cancelled"
        assert self.call("POST", "/v1/responses", 200, RESPONSE, idempotency_key="two")["id"] == other
        self.call("POST", "/v1/responses", 403, {**RESPONSE, "stream": True}, idempotency_key="two")

    def files(self) -> None:
        self.made.add(("POST", "/v1/files"))
        made = check(self.bench.upload(CANARY.encode(), self.writer), 200)
        self.call("DELETE", "/v1/files/{id}", 200, at=made["id"])

    def batches(self) -> None:
        file = check(self.bench.upload(f"{CANARY}\n".encode(), self.writer), 200)["id"]
        body = {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}
        named = {**body, "metadata": {"of": CANARY}}
        made = self.call("POST", "/v1/batches", 200, named, idempotency_key="three")
        again = self.call("POST", "/v1/batches", 200, named, idempotency_key="three")
        assert (again["id"], again["metadata"]) == (made["id"], {})
        self.call("POST", "/v1/batches/{id}/cancel", 200, at=made["id"])

    def deliveries(self) -> None:
        assert self.bench.call("POST", "/v1/webhook_endpoints", ENDPOINT, self.admin).status == 200
        task_id = self.call("POST", "/api/tasks", 202, NATIVE)["id"]
        self.call("POST", "/api/tasks/{id}/cancel", 200, at=task_id)
        self.bench.settle()
        told = data(self.bench.call("GET", f"/api/tasks/{task_id}/deliveries", None, self.admin))["deliveries"]
        self.call("POST", "/api/deliveries/{id}/redeliver", 202, at=told[0]["id"])


def test_no_call_shows_texts_to_a_key_that_only_writes(keyed: ApiBench) -> None:
    walk = Walk(keyed)
    walk.native()
    walk.many()
    walk.responses()
    walk.files()
    walk.batches()
    walk.deliveries()
    writing = {(one.method, one.path) for one in CATALOGUE.endpoints if one.access is Scope.WRITE}
    assert walk.made == writing


def test_a_trial_shows_what_it_was_sent(keyed: ApiBench) -> None:
    writer = bearer(keyed.make_key(Scope.WRITE))
    plan = keyed.call("POST", "/api/tasks?dryRun=true", NATIVE, writer)
    assert data(plan)["request"]["instructions"] == FIELDS["instructions"]
