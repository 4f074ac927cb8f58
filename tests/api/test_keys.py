"""API keys: which calls accept them, what a check costs, how they are made and revoked, and what `write` alone sees."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.services import RequestMemory
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.ids import new_task_id
from src.kernel.domain.keys import OWN_SCOPES, Scope, digest, fingerprint, parse
from src.kernel.domain.settings import Settings
from src.kernel.store.claims import Fail, Finish
from src.kernel.store.d1 import D1Statement
from tests.api.test_large_answers import FAILURE
from tests.support.api_bench import ENDPOINT, START_MS, WEBHOOK_KEY, ApiBench, BenchRequest, bearer, data
from tests.support.sqlite_d1 import NETWORK_LOST

ID = new_task_id(START_MS, b"0123456789")
UNKNOWN_KEY = "oo_" + "f" * 16 + "_" + "A" * 43
MINUTE = limits.KEY_CACHE_SECONDS


def ask(bench: ApiBench, key: str | None, path: str = "/api/tasks") -> Reply:
    return bench.call("GET", path, headers=None if key is None else bearer(key))


def cost(bench: ApiBench, key: str | None) -> int:
    before = bench.database.batches
    reply = ask(bench, key)
    return bench.database.batches - before - (1 if reply.status == 200 else 0)


def key_id(key: str) -> str:
    parts = parse(key)
    assert parts is not None
    return parts.id


def wrong(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


NEEDED = {
    ("POST", "/api/tasks"): Scope.WRITE,
    ("GET", "/api/tasks"): Scope.READ,
    ("GET", f"/api/tasks/{ID}"): Scope.READ,
    ("DELETE", f"/api/tasks/{ID}"): Scope.WRITE,
    ("GET", f"/api/tasks/{ID}/chunks"): Scope.READ,
    ("POST", f"/api/tasks/{ID}/cancel"): Scope.WRITE,
    ("POST", f"/api/tasks/{ID}/retry"): Scope.WRITE,
    ("POST", "/api/keys"): Scope.ADMIN,
    ("GET", "/api/keys"): Scope.ADMIN,
    ("DELETE", f"/api/keys/{'0' * 16}"): Scope.ADMIN,
}
CALLS = [*NEEDED, ("GET", "/openapi.json"), ("HEAD", "/api/tasks"), ("HEAD", "/openapi.json")]


@pytest.mark.parametrize(("method", "path"), NEEDED)
@pytest.mark.parametrize("scope", OWN_SCOPES)
def test_scopes(keyed: ApiBench, method: str, path: str, scope: Scope) -> None:
    key = keyed.make_key(scope)
    reply = keyed.call(method, path, b"?", bearer(key))
    needed = NEEDED[method, path]
    if scope is needed:
        assert reply.status in {200, 204, 400, 404, 409}
        return
    assert (reply.status, data(reply)["code"]) == (403, "forbidden")
    assert reply.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{needed}"'
    assert keyed.database.batches == 2  # the two D1 calls are the key's insertion and its look-up


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_no_keys_at_all(keyed: ApiBench, method: str, path: str) -> None:
    for headers in ({}, bearer(UNKNOWN_KEY)):
        reply = keyed.call(method, path, b"?", headers)
        assert reply.status == 503
        if method != "HEAD":
            assert (data(reply)["code"], reply.headers["Retry-After"]) == ("not_configured", "60")
            assert "`make key`" in data(reply)["detail"]
            assert '`make key ARGS="--remote"`' in data(reply)["detail"]


@pytest.mark.parametrize("path", ["/api/async-status", "/api/ai-status"])
def test_status_is_open(keyed: ApiBench, path: str) -> None:
    assert ask(keyed, None, path).status == 200
    keyed.make_key()
    assert ask(keyed, None, path).status == 200
    assert ask(keyed, UNKNOWN_KEY, path).status == 200


def test_what_is_no_call_needs_no_key(keyed: ApiBench) -> None:
    assert keyed.call("GET", "/api/nothing").status == 404
    assert keyed.call("PUT", "/api/tasks").status == 405
    assert keyed.call("OPTIONS", "/api/keys").status == 204
    assert keyed.database.batches == 0


def bad_headers(good: str) -> dict[str, dict[str, str]]:
    return {
        "none": {},
        "empty": {"authorization": ""},
        "no scheme": {"authorization": good},
        "no key": {"authorization": "Bearer "},
        "another scheme": {"authorization": f"Basic {good}"},
        "two keys": {"authorization": f"Bearer {good} {good}"},
        "two headers": {"authorization": f"Bearer {good}, Bearer {good}"},
        "a query's worth": {"authorization": f"Bearer {good}&x=1"},
        "tab": {"authorization": f"Bearer\t{good}"},
        "upper-case id": bearer(good.upper()),
        "too short": bearer(good[:-1]),
        "too long": bearer(good + "A"),
        "very long": bearer("oo_" + "a" * 16 + "_" + "A" * 100_000),
        "not ASCII": bearer(good[:-1] + "é"),
        "a surrogate": bearer(good[:-1] + "\udcff"),
        "unknown id": bearer(UNKNOWN_KEY),
        "wrong secret": bearer(wrong(good)),
    }


@pytest.mark.parametrize("case", bad_headers(UNKNOWN_KEY))
def test_every_bad_key_is_answered_alike(keyed: ApiBench, case: str) -> None:
    good = keyed.make_key()
    keyed.make_key(tenant="other", valid_ms=1)
    plain = keyed.call("GET", "/api/tasks", headers=bearer(UNKNOWN_KEY))
    keyed.restart()
    for calls in (1, 0, 0):
        before = keyed.database.batches
        reply = keyed.call("GET", "/api/tasks", headers=bad_headers(good)[case])
        assert keyed.database.batches - before == calls
        assert reply == plain
    assert (reply.status, data(reply)["code"], reply.headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")
    assert keyed.log_lines == []


def test_open_mode_looks_at_no_key(bench: ApiBench) -> None:
    assert cost(bench, None) == cost(bench, UNKNOWN_KEY) == 0
    assert bench.call("POST", "/api/keys", {}).status == 201


def test_a_valid_key_costs_one_call_a_minute(keyed: ApiBench) -> None:
    key = keyed.make_key()
    assert [cost(keyed, key) for _ in range(3)] == [1, 0, 0]
    keyed.pass_seconds(MINUTE - 1)
    assert cost(keyed, key) == 0
    keyed.pass_seconds(1)
    assert [cost(keyed, key), cost(keyed, key)] == [1, 0]


def test_a_slow_database_prolongs_nothing(keyed: ApiBench) -> None:
    key, batch = keyed.make_key(), keyed.database.batch

    async def slow(statements: list[D1Statement]) -> list[Mapping[str, object]]:
        results = await batch(statements)
        await asyncio.sleep(10)
        return results

    keyed.database.batch = slow  # type: ignore[method-assign]
    assert ask(keyed, key, "/openapi.json").status == 200
    keyed.database.batch = batch  # type: ignore[method-assign]
    keyed.pass_seconds(MINUTE - 10.1)
    assert cost(keyed, key) == 0
    keyed.pass_seconds(0.1)
    assert cost(keyed, key) == 1


def test_a_wrong_secret_never_meets_the_memory(keyed: ApiBench) -> None:
    key = keyed.make_key()
    assert cost(keyed, key) == 1
    assert ask(keyed, wrong(key)).status == 401
    assert [cost(keyed, wrong(key)), cost(keyed, key)] == [0, 0]


def test_expiry(keyed: ApiBench) -> None:
    key = keyed.make_key(valid_ms=10_000)
    assert ask(keyed, key).status == 200
    keyed.pass_seconds(9.9)
    assert (ask(keyed, key).status, cost(keyed, key)) == (200, 0)
    keyed.pass_seconds(0.1)
    assert ask(keyed, key).status == 401
    keyed.restart()
    assert ask(keyed, key).status == 401


def test_a_revoked_key_is_refused(keyed: ApiBench) -> None:
    admin, key = keyed.make_key(Scope.ADMIN), keyed.make_key(Scope.READ)
    first, second = keyed.api, replace(keyed.api, isolate=RequestMemory())
    for keyed.api in (first, second):
        assert ask(keyed, key).status == 200
    keyed.api = first
    keyed.pass_seconds(5)
    assert keyed.call("DELETE", f"/api/keys/{key_id(key)}", headers=bearer(admin)).status == 204
    assert ask(keyed, key).status == 401
    keyed.api = second
    keyed.pass_seconds(MINUTE - 5.1)
    assert ask(keyed, key).status == 200
    keyed.pass_seconds(0.1)
    assert ask(keyed, key).status == 401
    assert ask(keyed, admin).status == 403


def test_a_revocation_beats_a_lookup_that_is_under_way(keyed: ApiBench) -> None:
    admin, key = keyed.make_key(Scope.ADMIN), keyed.make_key(Scope.READ)
    assert ask(keyed, admin, "/api/keys").status == 200
    find, answered, go_on = keyed.api.keys.find, asyncio.Event(), asyncio.Event()

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(keyed._keys, name)

        async def find(self, key_id: str) -> object:
            found = await find(key_id)
            answered.set()
            await go_on.wait()
            return found

    def request(method: str, path: str, presented: str) -> BenchRequest:
        return BenchRequest(method, f"http://h{path}", bearer(presented))

    async def race() -> list[Reply]:
        slow = replace(keyed.api, keys=Slow())  # type: ignore[arg-type]
        early = asyncio.ensure_future(handle(request("GET", "/api/tasks", key), slow, CATALOGUE))
        await answered.wait()
        gone = await handle(request("DELETE", f"/api/keys/{key_id(key)}", admin), keyed.api, CATALOGUE)
        go_on.set()
        return [await early, gone]

    assert [reply.status for reply in keyed.run(race())] == [200, 204]
    assert ask(keyed, key).status == 401


def test_d1_away(keyed: ApiBench) -> None:
    """While D1 is out of reach, a remembered key still works for calls that need no D1."""
    key = keyed.make_key()
    assert ask(keyed, key).status == 200
    keyed.database.fail(NETWORK_LOST, times=100)
    assert ask(keyed, key, "/openapi.json").status == 200
    assert (ask(keyed, UNKNOWN_KEY).status, ask(keyed, None).status) == (503, 503)
    keyed.restart()
    assert data(ask(keyed, key, "/openapi.json"))["code"] == "database_unavailable"


def made(bench: ApiBench, admin: str, **fields: object) -> dict[str, object]:
    reply = bench.call("POST", "/api/keys", fields, bearer(admin))
    assert reply.status == 201, reply
    shown = data(reply)
    assert reply.headers["Location"] == f"/api/keys/{shown['id']}"
    return shown


def test_make_list_delete(keyed: ApiBench) -> None:
    admin = keyed.make_key(Scope.ADMIN)
    keyed.pass_seconds(1)
    shown = made(keyed, admin, label="batch 文", scopes=["write", "read", "read"], expiresInSeconds=3600)
    key = str(shown.pop("key"))
    assert shown == {
        "id": key_id(key),
        "label": "batch 文",
        "scopes": ["read", "write"],
        "createdAt": "2026-09-21T14:13:21.000Z",
        "expiresAt": "2026-09-21T15:13:21.000Z",
    }
    assert ask(keyed, key).status == 200
    assert ask(keyed, key, "/api/keys").status == 403
    listed = ask(keyed, admin, "/api/keys")
    (first, second) = data(listed)["keys"]
    assert (first["id"], first["scopes"], first["expiresAt"]) == (key_id(admin), ["admin"], None)
    assert second == shown
    assert key not in listed.body
    assert keyed.call("DELETE", f"/api/keys/{shown['id']}", headers=bearer(admin)).status == 204
    assert ask(keyed, key).status == 401
    assert keyed.call("DELETE", f"/api/keys/{shown['id']}", headers=bearer(admin)).status == 404


def test_defaults(keyed: ApiBench) -> None:
    admin = keyed.make_key()
    for fields in ({}, {"label": None, "scopes": None, "expiresInSeconds": None}):
        shown = made(keyed, admin, **fields)
        assert (shown["label"], shown["scopes"], shown["expiresAt"]) == (None, ["read", "write"], None)


def test_nothing_secret_is_stored_or_logged(keyed: ApiBench) -> None:
    admin = keyed.make_key()
    key = str(made(keyed, admin, label="canary-label")["key"])
    ask(keyed, key)
    secret = key.split("_", 2)[2]
    stored = json.dumps(keyed.database.rows("SELECT * FROM api_keys"))
    assert digest(secret) in stored
    assert secret not in stored
    logged = "\n".join(keyed.log_lines)
    assert '"event":"key_made"' in logged
    assert all(text not in logged for text in (secret, digest(secret), "canary-label", fingerprint(key).hex()))


BAD_FIELDS: dict[str, list[object]] = {
    "label": ["", "x" * 101, "a\0b", "\ud800", 7],
    "scopes": [[], "read"],
    "scopes.0": [["root"], ["Read"]],
    "expiresInSeconds": [0, limits.KEY_SECONDS_MOST + 1, "60", True],
    "tenant": ["other"],
    "id": ["0" * 16],
}


@pytest.mark.parametrize(("field", "value"), [(one, value) for one, values in BAD_FIELDS.items() for value in values])
def test_bad_fields(keyed: ApiBench, field: str, value: object) -> None:
    reply = keyed.call("POST", "/api/keys", {field.partition(".")[0]: value}, bearer(keyed.make_key()))
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, field)
    assert keyed.count_rows() == 1


def test_an_operator_lists_and_revokes_the_keys_of_another_tenant(keyed: ApiBench) -> None:
    operator, theirs = keyed.make_key(Scope.ADMIN), keyed.make_key(Scope.ADMIN, tenant="theirs")
    path = f"/api/keys/{key_id(theirs)}"
    assert [key["id"] for key in data(ask(keyed, operator, "/api/keys?tenant=theirs"))["keys"]] == [key_id(theirs)]
    assert keyed.call("DELETE", path, headers=bearer(operator)).status == 404
    assert keyed.call("POST", "/api/keys?tenant=theirs", {}, bearer(operator)).status == 422
    assert ask(keyed, operator, "/api/keys?tenant=*").status == 422
    others = (theirs, keyed.make_key(Scope.READ, Scope.OPERATOR), keyed.make_key(*Scope, tenant="mine"))
    for key in others:
        assert keyed.call("DELETE", f"{path}?tenant=third", headers=bearer(key)).status == 403
    assert keyed.call("DELETE", f"{path}?tenant=theirs", headers=bearer(operator)).status == 204
    assert ask(keyed, theirs, "/api/keys").status == 401
    acted = [line for line in map(json.loads, keyed.log_lines) if line["event"] in {"operator_acted", "key_deleted"}]
    assert [(one["event"], one["tenant"], one.get("by")) for one in acted] == [
        ("operator_acted", "theirs", "local"),
        ("operator_acted", "theirs", "local"),
        ("key_deleted", "theirs", None),
    ]


def test_without_keys_no_other_tenant_can_be_named(bench: ApiBench) -> None:
    for path in ("/api/keys?tenant=theirs", "/api/tenants?tenant=*"):
        reply = bench.call("GET", path)
        assert (reply.status, "REQUIRE_KEYS is false" in data(reply)["detail"]) == (403, True)


def test_a_key_whose_answer_is_lost_is_taken_back(keyed: ApiBench) -> None:
    admin = keyed.make_key()
    ask(keyed, admin, "/api/keys")
    keyed.database.fail(NETWORK_LOST, "after", times=limits.STORE_SENDS)
    assert keyed.call("POST", "/api/keys", {}, bearer(admin)).status == 503
    assert keyed.count_rows() == 1
    keyed.database.fail(NETWORK_LOST, "after")
    made(keyed, admin)
    assert keyed.count_rows() == 2


def test_a_revocation_whose_answer_is_lost_forgets_the_key_too(keyed: ApiBench) -> None:
    admin, key = keyed.make_key(Scope.ADMIN), keyed.make_key(Scope.READ)
    assert ask(keyed, key).status == 200
    assert ask(keyed, admin, "/api/keys").status == 200
    keyed.database.fail(NETWORK_LOST, "after", times=limits.STORE_SENDS)
    assert keyed.call("DELETE", f"/api/keys/{key_id(key)}", headers=bearer(admin)).status == 503
    assert ask(keyed, key).status == 401


@pytest.mark.parametrize("scope", OWN_SCOPES)
def test_the_description_takes_any_key(keyed: ApiBench, scope: Scope) -> None:
    assert ask(keyed, keyed.make_key(scope), "/openapi.json").status == 200


@pytest.mark.parametrize("name", ["x", "0" * 15, "0" * 17, "0" * 15 + "G", "A" * 16, ID])
def test_what_is_no_key_id(keyed: ApiBench, name: str) -> None:
    admin = keyed.make_key()
    ask(keyed, admin, "/api/keys")
    before = keyed.database.batches
    assert keyed.call("DELETE", f"/api/keys/{name}", headers=bearer(admin)).status == 404
    assert keyed.database.batches == before


def test_a_body_that_is_too_large(keyed: ApiBench) -> None:
    body = b'{"label": "%s"}' % (b"x" * limits.KEY_BODY_BYTES_MOST)
    assert keyed.call("POST", "/api/keys", body, bearer(keyed.make_key())).status == 413


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"scopes": ["read"]', b'{"label": "a", "label": "b"}'])
def test_bad_bodies(keyed: ApiBench, body: bytes) -> None:
    assert keyed.call("POST", "/api/keys", body, bearer(keyed.make_key())).status == 400


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_is_taken_in_any_case(keyed: ApiBench, scheme: str) -> None:
    assert keyed.call("GET", "/api/tasks", headers={"authorization": f"{scheme} {keyed.make_key()}"}).status == 200


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
def writing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ApiBench:
    """Make a deployment with keys. In the variant `large`, results are read separately and sent in parts."""
    if request.param:
        monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", 20)
    return ApiBench(settings=Settings(provider="demo", chunk_chars=10, webhook_key=WEBHOOK_KEY), keys=True)


def complete(bench: ApiBench, task_id: str) -> None:
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


def test_no_call_shows_texts_to_a_key_that_only_writes(writing: ApiBench) -> None:
    walk = Walk(writing)
    walk.native()
    walk.many()
    walk.responses()
    walk.files()
    walk.batches()
    walk.deliveries()
    writes = {(one.method, one.path) for one in CATALOGUE.endpoints if one.access is Scope.WRITE}
    assert walk.made == writes


def test_a_trial_shows_what_it_was_sent(writing: ApiBench) -> None:
    writer = bearer(writing.make_key(Scope.WRITE))
    plan = writing.call("POST", "/api/tasks?dryRun=true", NATIVE, writer)
    assert data(plan)["request"]["instructions"] == FIELDS["instructions"]
