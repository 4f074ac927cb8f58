"""The document `/openapi.json` is complete and correct, and no part of it contradicts another."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from src.composition import CATALOGUE
from src.features.cost.gate import spent
from src.kernel.api.base import problems
from src.kernel.api.base.messages import Reply
from src.kernel.api.router import Catalogue, configuration_problem
from src.kernel.calls.protocol import HttpTimeout
from src.kernel.domain.errors import ConfigurationError
from src.kernel.domain.ids import batch_id, new_task_id
from src.kernel.domain.keys import Scope
from src.kernel.domain.limits import KEYS_MOST, WEBHOOK_ENDPOINTS_MOST
from src.kernel.domain.prices import Price
from src.kernel.run.waits import exhausted
from src.kernel.store.claims import Fail
from tests.support.api_bench import (
    ENDPOINT,
    START_MS,
    TEXTS,
    ApiBench,
    BenchRequest,
    bearer,
    check_documented,
    data,
    object_of,
)
from tests.support.batches import CHAT, create, lines, run, upload
from tests.support.memory_r2 import INTERNAL, MemoryR2
from tests.support.sqlite_d1 import NETWORK_LOST, ROWS_USED_UP

UNKNOWN = new_task_id(START_MS, b"0123456789")
Provoke = Callable[[ApiBench, str, str], Reply]


def plain(bench: ApiBench, method: str, path: str) -> Reply:
    task = bench.submit()
    if path.endswith("/retry"):
        bench.fail(task["id"])
    return call(bench, method, path.replace("{id}", there(bench, path, task["id"])))


def there(bench: ApiBench, path: str, task_id: str) -> str:
    if "/keys/" in path:
        return a_key(bench)
    if "/models/" in path:
        return bench.api.provider.default_model
    for part, make in (("/webhook_endpoints/", an_endpoint), ("/files/", a_file), ("/deliveries/", a_delivery)):
        if part in path:
            return make(bench)
    if "/batches/" in path:
        return str(create(bench, lines(1))["id"])
    if "/responses/" in path:
        made: str = data(bench.call("POST", "/v1/responses", BODIES["/v1/responses"]))["id"]
        return made
    return task_id


def unknown(path: str) -> str:
    if "/webhook_endpoints/" in path:
        return "we_" + "0" * 24
    if "/files/" in path:
        return "file-" + "0" * 32
    if "/batches/" in path:
        return batch_id(UNKNOWN)
    if "/deliveries/" in path:
        return f"evt_{'0' * 32}_0_0_{'0' * 24}"
    return "0" * 16 if "/keys/" in path else f"resp_{UNKNOWN}" if "/responses/" in path else UNKNOWN


def a_key(bench: ApiBench) -> str:
    return bench.make_key().split("_")[1]


def an_endpoint(bench: ApiBench) -> str:
    made: str = data(bench.call("POST", "/v1/webhook_endpoints", ENDPOINT))["id"]
    return made


def a_file(bench: ApiBench) -> str:
    made: str = data(bench.upload())["id"]
    return made


def a_delivery(bench: ApiBench) -> str:
    an_endpoint(bench)
    task_id = bench.submit()["id"]
    bench.call("POST", f"/api/tasks/{task_id}/cancel")
    bench.settle()
    made: str = data(bench.call("GET", f"/api/tasks/{task_id}/deliveries"))["deliveries"][0]["id"]
    return made


# Each call that has a body, together with a valid body for it.
BODIES: dict[str, Any] = {
    "/api/tasks": {"input": "x"},
    "/api/tasks/retry": {},
    "/api/tasks/cancel": {},
    "/api/keys": {},
    "/api/tenants/local/limits": {"monthlyCostMost": None},
    "/v1/responses": {"background": True, "input": "x"},
    "/v1/batches": {"input_file_id": "file-" + "0" * 32, "endpoint": CHAT, "completion_window": "24h"},
    "/v1/webhook_endpoints": ENDPOINT,
    "/mcp": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
}


def call(bench: ApiBench, method: str, path: str) -> Reply:
    if (method, path) == ("POST", "/v1/files"):
        return bench.upload()
    return bench.call(method, path, BODIES.get(path) if method in {"POST", "PUT"} else None)


def body(raw: bytes, media_type: str = "application/json") -> Provoke:
    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        return bench.send(BenchRequest(method, f"http://h{path}", {"content-type": media_type}, raw))

    return provoke


def asked(query: str = "", *, more: Mapping[str, object] | None = None, **headers: str) -> Provoke:
    """Make the call with this query, with these fields in its body, and with these headers."""

    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        sent = BODIES[path] | (more or {}) if method in {"POST", "PUT"} and path in BODIES else None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return bench.call(method, path.replace("{id}", unknown(path)) + query, sent, named)

    return provoke


def limited(**settings: Any) -> Provoke:
    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        bench.limit(**settings)
        return unknown_task(bench, method, path)

    return provoke


def bad_file(bench: ApiBench, method: str, path: str) -> Reply:
    return bench.upload(purpose="vision") if method == "POST" else bench.call(method, f"{path}?limit=0")


def new_batch(bench: ApiBench, _method: str, path: str) -> Reply:
    return bench.call("POST", path, BODIES[path] | {"input_file_id": upload(bench, lines(1))})


def bad_batch(bench: ApiBench, method: str, path: str) -> Reply:
    if method == "GET":
        return bench.call(method, f"{path}?limit=0")
    return bench.call(method, path, BODIES[path] | {"completion_window": "0h"})


def other_batch(bench: ApiBench, method: str, path: str) -> Reply:
    sent = BODIES[path] | {"input_file_id": upload(bench, lines(1))}
    bench.call(method, path, sent, {"idempotency-key": "key"})
    return bench.call(method, path, sent | {"completion_window": "1h"}, {"idempotency-key": "key"})


def ended_batch(bench: ApiBench, method: str, path: str) -> Reply:
    return bench.call(method, path.replace("{id}", str(run(bench, create(bench, lines(1)))["id"])))


def failed_batch(bench: ApiBench, path: str) -> str:
    batch = run(bench, create(bench, lines(2), onceover={"maxModelCalls": 1}))
    return path.replace("{id}", str(batch["onceover"]["task"]).rpartition("/")[2])


def full_retry(bench: ApiBench, method: str, path: str) -> Reply:
    path = failed_batch(bench, path)
    bench.limit(files_bytes=1)
    return bench.call(method, path)


def retry_without_bucket(bench: ApiBench, method: str, path: str) -> Reply:
    bucket = bench.blobs = MemoryR2(bench.now_ms)
    path = failed_batch(bench, path)
    bucket.fail(INTERNAL, times=100)
    return bench.call(method, path)


def bucket_away(bench: ApiBench, method: str, path: str) -> Reply:
    path = path.replace("{id}", a_file(bench))
    bench.database.fail("string or blob too big: SQLITE_TOOBIG", passing=1)
    return call(bench, method, path)


def file_in_use(bench: ApiBench, method: str, path: str) -> Reply:
    path = path.replace("{id}", str(create(bench, lines(1))["input_file_id"]))
    return call(bench, method, path)


def with_schema(schema: object) -> Provoke:
    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        formed: dict[str, Any] = {"outputSchema": schema}
        if path.startswith("/v1/"):
            named = {"type": "json_schema", "name": "n", "schema": schema}
            formed = {"text": {"format": named}, "onceover": {"reduce": "concat"}}
        return bench.call(method, path, BODIES[path] | formed)

    return provoke


def unknown_task(bench: ApiBench, method: str, path: str) -> Reply:
    return call(bench, method, path.replace("{id}", unknown(path)))


def completed_task(bench: ApiBench, method: str, path: str) -> Reply:
    task = bench.submit()
    bench.complete(task["id"])
    return call(bench, method, path.replace("{id}", task["id"]))


def exhausted_task(bench: ApiBench, method: str, path: str) -> Reply:
    task = bench.submit(maxModelCalls=3)
    spent = Fail(bench.settings.retention_ms, exhausted(3))
    bench.work(bench.claim(task["id"]), {0: "output 0"}, spent)
    return call(bench, method, path.replace("{id}", task["id"]))


def spent_task(bench: ApiBench, method: str, path: str) -> Reply:
    bench.limit(prices={"demo-1": Price(1, 1, 1, 9)})
    task = bench.submit(maxCost="1")
    bench.work(bench.claim(task["id"]), {0: "output 0"}, Fail(bench.settings.retention_ms, spent(5, 6)))
    return call(bench, method, path.replace("{id}", task["id"]))


def unpriced(bench: ApiBench, method: str, path: str) -> Reply:
    capped = {"onceover": {"maxCost": "1"}} if path.startswith("/v1") else {"maxCost": "1"}
    return bench.call(method, path, BODIES[path] | capped)


def other_body(bench: ApiBench, method: str, path: str) -> Reply:
    bench.call(method, path, BODIES[path], {"idempotency-key": "key"})
    return bench.call(method, path, BODIES[path] | {"input": "y"}, {"idempotency-key": "key"})


def database_away(message: str) -> Provoke:
    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        if needs_only_a_key(path):
            require_keys(bench)  # these calls use D1 only to look up the caller's key
        bench.database.fail(message, times=10)
        return unknown_task(bench, method, path)

    return provoke


def mistake(bench: ApiBench, method: str, path: str) -> Reply:
    """Make the call while an object that the call's handler needs raises errors."""

    class Nothing:
        status = 200

        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    bench.api = replace(
        bench.api,
        store=cast("Any", Nothing()),
        submission=cast("Any", Nothing()),
        provider=cast("Any", Nothing()),
        keys=cast("Any", Nothing()),
        sweeps=cast("Any", Nothing()),
        invocation=replace(bench.api.invocation, bucket=cast("Any", Nothing())),
    )
    if needs_only_a_key(path):
        require_keys(bench)
    return unknown_task(bench, method, path)


def needs_only_a_key(path: str) -> bool:
    return path in {"/openapi.json", "/mcp"} or path.startswith("/v1/models")


def require_keys(bench: ApiBench) -> None:
    bench.api = replace(bench.api, settings=replace(bench.settings, require_keys=True))


def no_keys(bench: ApiBench, method: str, path: str) -> Reply:
    require_keys(bench)
    return unknown_task(bench, method, path)


def no_header(bench: ApiBench, method: str, path: str) -> Reply:
    bench.make_key()
    return no_keys(bench, method, path)


def no_scope(bench: ApiBench, method: str, path: str) -> Reply:
    paths: Any = CATALOGUE.document["paths"]
    ((needed,),) = (item.values() for item in paths[path.replace("/local/", "/{name}/")][method.lower()]["security"])
    key = bench.make_key(*(scope for scope in Scope if [scope] != needed))
    require_keys(bench)
    return bench.call(method, path.replace("{id}", unknown(path)), headers=bearer(key))


def bad_name(bench: ApiBench, method: str, path: str) -> Reply:
    return bench.call(method, path.replace("local", "no.tenant%20"), BODIES[path])


def too_many_keys(bench: ApiBench, method: str, path: str) -> Reply:
    for _ in range(KEYS_MOST):
        bench.make_key()
    return call(bench, method, path)


def bad_endpoint(bench: ApiBench, method: str, path: str) -> Reply:
    if method == "GET":
        return bench.call(method, f"{path}?limit=0")
    return bench.call(method, path.replace("{id}", there(bench, path, "")), {"surprise": 1})


def too_many_endpoints(bench: ApiBench, method: str, path: str) -> Reply:
    for _ in range(WEBHOOK_ENDPOINTS_MOST):
        an_endpoint(bench)
    return call(bench, method, path)


def silent_endpoint(bench: ApiBench, method: str, path: str) -> Reply:
    bench.courier.receiver = lambda _message: HttpTimeout("late")
    return plain(bench, method, path)


def endpoint_gone(bench: ApiBench, method: str, path: str) -> Reply:
    path = path.replace("{id}", a_delivery(bench))
    (one,) = data(bench.call("GET", "/v1/webhook_endpoints"))["data"]
    bench.call("DELETE", f"/v1/webhook_endpoints/{one['id']}")
    return bench.call(method, path)


def misconfigured(_bench: ApiBench, method: str, path: str) -> Reply:
    """Answer like a deployment that has a variable with a bad value."""
    reply = configuration_problem(ConfigurationError("AI_PROVIDER", "one of these"), method, None, f"http://h{path}")
    check_documented(method, f"http://h{path}", reply)
    return reply


def too_many_requests(bench: ApiBench, method: str, path: str) -> Reply:
    class Nothing:
        async def allows(self, key: str) -> bool:
            return False

    object.__setattr__(bench.api, "rate_limiter", Nothing())
    return unknown_task(bench, method, path)


def overloaded(bench: ApiBench, method: str, path: str) -> Reply:
    require_keys(bench)
    while bench.api.isolate.lookups.take(bench.loop.time()):
        pass
    return unknown_task(bench, method, path)


def twice(bench: ApiBench, method: str, path: str) -> Reply:
    call(bench, method, path)
    return call(bench, method, path)


def verbose(*scopes: Scope, known: bool = True) -> Provoke:
    """Request the operators' view with a key that has these scopes, or with an unknown key."""

    def provoke(bench: ApiBench, method: str, path: str) -> Reply:
        key = bench.make_key(*scopes)
        require_keys(bench)
        return bench.call(method, f"{path}?verbose=1", headers=bearer(key if known else key[:-1]))

    return provoke


def tool_without_scope(bench: ApiBench, _method: str, path: str) -> Reply:
    key = bench.make_key(Scope.READ)
    require_keys(bench)
    return bench.call("POST", path, BODIES[path] | TOOL, bearer(key))


TOOL = {"method": "tools/call", "params": {"name": "analyse", "arguments": {"input": "x"}}}
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def strange_message(bench: ApiBench, method: str, path: str) -> Reply:
    """Send a message with a method that does not exist, in the revision that has a status for it."""
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "surprise"}
    return bench.call(method, path, BODIES[path] | {"method": "surprise", "params": {"_meta": MODERN}}, headers)


# How to get those successful answers that the function `plain` does not get.
SUCCEEDED: dict[tuple[str, str, int], Provoke] = {
    ("POST", "/api/tasks", 200): asked("?dryRun=true"),
    ("POST", "/api/tasks/retry", 200): body(b'{"dryRun": true}'),
    ("POST", "/api/tasks/cancel", 200): body(b'{"dryRun": true}'),
    ("GET", "/api/async-status", 503): database_away(NETWORK_LOST),
    ("POST", "/v1/batches", 200): new_batch,
    ("POST", "/mcp", 202): body(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'),
    ("POST", "/mcp", 404): strange_message,
}

# How to get problems that other calls have too, but that have another cause for these paths.
OTHERWISE: dict[tuple[str, str], Provoke] = {
    ("/api/tenants/local/limits", "not_found"): bad_name,
    ("/api/async-status", "unauthenticated"): verbose(known=False),
    ("/api/async-status", "forbidden"): verbose(Scope.READ),
    ("/v1/responses", "invalid_fields"): asked(more={"temperature": 3}),
    ("/v1/responses", "too_large"): body(b'{"background": true, "input": "%s"}' % (b"x" * 1_000_001)),
    ("/v1/responses/{id}/input_items", "invalid_fields"): asked("?limit=0"),
    ("/v1/responses/{id}", "invalid_fields"): asked("?stream=maybe"),
    ("/v1/models", "invalid_fields"): asked("?limit=0"),
    ("/api/tasks/{id}/retry", "files_full"): full_retry,
    ("/api/tasks/{id}/retry", "files_unavailable"): retry_without_bucket,
    ("/v1/batches", "invalid_fields"): bad_batch,
    ("/v1/batches", "idempotency_mismatch"): other_batch,
    ("/v1/batches/{id}", "invalid_fields"): asked("?tenant=A"),
    ("/v1/batches/{id}/cancel", "invalid_fields"): asked("?tenant=A"),
    ("/v1/batches/{id}/cancel", "already_terminal"): ended_batch,
    ("/v1/files", "invalid_fields"): bad_file,
    ("/v1/files/{id}", "invalid_fields"): asked("?tenant=A"),
    ("/v1/files/{id}/content", "invalid_fields"): asked("?tenant=A"),
    ("/v1/files", "malformed_body"): body(b"[", "multipart/form-data; boundary=b"),
    ("/v1/files", "too_large"): limited(file_bytes=1),
    ("/v1/webhook_endpoints", "invalid_fields"): bad_endpoint,
    ("/v1/webhook_endpoints/{id}/rotate_secret", "invalid_fields"): bad_endpoint,
    ("/v1/webhook_endpoints/{id}/test", "invalid_fields"): bad_endpoint,
    ("/mcp", "too_large"): body(b" " * 7_000_000),
    ("/mcp", "forbidden"): tool_without_scope,
}

# For each problem, how to get it.
PROVOKED: dict[str, Provoke] = {
    "malformed_body": body(b"["),
    "bad_idempotency_key": asked(idempotency_key="a key"),
    "idempotency_mismatch": other_body,
    "too_large": body(b'{"input": "%s"}' % (b"x" * 1_000_001)),
    "unsupported_media_type": body(b"{}", "text/plain"),
    "invalid_fields": asked("?surprise=1"),
    "unsupported_schema": with_schema(TEXTS),
    "not_joinable": with_schema(object_of(a={"type": "string"})),
    "unsupported_parameter": asked("?surprise=1"),
    "not_found": unknown_task,
    "unauthenticated": no_header,
    "forbidden": no_scope,
    "foreign_origin": asked(origin="https://evil.example"),
    "not_configured": no_keys,
    "overloaded": overloaded,
    "key_limit": too_many_keys,
    "endpoint_limit": too_many_endpoints,
    "endpoint_gone": endpoint_gone,
    "endpoint_unreached": silent_endpoint,
    "file_in_use": file_in_use,
    "files_full": limited(files_bytes=1),
    "files_unavailable": bucket_away,
    "no_webhook_key": limited(webhook_key=None),
    "already_terminal": completed_task,
    "not_retryable": completed_task,
    "budget_exhausted": exhausted_task,
    "cost_exhausted": spent_task,
    "no_price": unpriced,
    "limit_reached": too_many_requests,
    "cost_limit": database_away("cost_limit: SQLITE_CONSTRAINT"),
    "too_soon": twice,
    "database_unavailable": database_away(NETWORK_LOST),
    "database_quota_exhausted": database_away(ROWS_USED_UP),
    "storage_full": database_away("Exceeded maximum DB size"),
    "database_error": database_away("string or blob too big: SQLITE_TOOBIG"),
    "schema_missing": database_away("no such table: tasks"),
    "internal": mistake,
    "bad_configuration": misconfigured,
}


def described() -> Iterator[tuple[str, str, int, str]]:
    """Yield each answer that the document describes: the method, the path, the status and, for problems, the code."""
    paths: Any = CATALOGUE.document["paths"]
    for path, item in paths.items():
        for method in ("get", "post", "put", "delete"):
            for status, response in item.get(method, {}).get("responses", {}).items():
                yield from ((method.upper(), path, int(status), code) for code in codes_of(response))


def codes_of(response: Any) -> list[str]:
    """Return the error codes that `/openapi.json` gives for an answer, [""] for an answer without one."""
    for content in response.get("content", {}).values():
        if "allOf" in content["schema"]:
            narrowed = content["schema"]["allOf"][1]["properties"]
            found: list[str] = narrowed.get("error", {"properties": narrowed})["properties"]["code"]["enum"]
            return found
    return [""]


@pytest.mark.parametrize(("method", "path", "status", "code"), list(described()))
def test_each_described_answer_is_given(bench: ApiBench, method: str, path: str, status: int, code: str) -> None:
    path = path.replace("{name}", "local")
    if not code:
        provoke: Provoke = SUCCEEDED.get((method, path, status), plain)
        assert provoke(bench, method, path).status == status
        return
    reply = OTHERWISE.get((path, code), PROVOKED[code])(bench, method, path)
    assert (reply.status, (data(reply).get("error") or data(reply))["code"]) == (status, code)


def test_every_problem_is_described() -> None:
    kinds = {value.code: value.status for value in vars(problems).values() if isinstance(value, problems.ProblemKind)}
    found = {(code, status) for _, path, status, code in described() if code and not path.startswith("/v1/")}
    only_below = {("unsupported_parameter", 400), ("endpoint_limit", 409), ("endpoint_unreached", 502)}
    of_files = {("file_in_use", 409)}
    assert found == set(kinds.items()) - {("method_not_allowed", 405)} - only_below - of_files
    below = {(code, status) for _, path, status, code in described() if code and path.startswith("/v1/")}
    bad_values = {"invalid_fields", "unsupported_schema", "not_joinable"}
    assert {(code, 400) for code in bad_values} | only_below | of_files <= below
    assert below - {(code, 400) for code in bad_values} <= set(kinds.items()) - {(code, 422) for code in bad_values}
    assert "method_not_allowed" in str(CATALOGUE.document["info"])


def test_each_endpoint_is_there_once() -> None:
    assert len({(endpoint.method, endpoint.path) for endpoint in CATALOGUE.endpoints}) == len(CATALOGUE.endpoints)


def every_value(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every_value(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from every_value(item, key)


def test_document_is_sound(bench: ApiBench) -> None:
    shown = data(bench.call("GET", "/openapi.json"))
    assert shown["openapi"].startswith("3.1.")
    assert {"title", "version"} <= set(shown["info"])
    for reference in set(every_value(shown, "$ref")):
        node = shown
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    operations = [item[method] for item in shown["paths"].values() for method in item if method != "parameters"]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for link in every_value(shown["paths"], "links"):
        assert {led["operationId"] for led in link.values()} <= set(names)
    for path, item in shown["paths"].items():
        declared = [parameter["name"] for parameter in item.get("parameters", []) if parameter["in"] == "path"]
        assert declared == re.findall(r"\{(.*?)\}", path)
        for method, operation in item.items():
            if method != "parameters":
                assert all("description" in response for response in operation["responses"].values())


def test_document_is_built_upon_request() -> None:
    catalogue = Catalogue()
    assert not {"document", "document_text"} & vars(catalogue).keys()
    ((endpoint,), _) = catalogue.at(["", "openapi.json"])

    async def twice() -> tuple[Reply, Reply]:
        exchange: Any = None
        return await endpoint.handler(exchange), await endpoint.handler(exchange)

    first, second = asyncio.run(twice())
    assert '"title": "onceover"' in first.body
    assert first.body is second.body
