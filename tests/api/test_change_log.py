"""The Worker logs each change that a client makes, with tenant and request id, and without any secret."""

import json
from typing import Any

from tests.support.api_bench import ApiBench, bearer, data

TEXT = "canary-of-the-text"
LABEL = "canary-of-the-label"
SUBMISSION = {
    "input": f"{TEXT}\n\ntwo",
    "instructions": "canary-of-the-instructions",
    "metadata": {"canary-of-a-name": "canary-of-the-metadata"},
    "modelOptions": {"stop": "canary-of-the-options"},
}


def lines(keyed: ApiBench, request: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in keyed.log_lines]
    return [line for line in found if line["request"] == request and line["event"] != "dispatched"]


def test_each_change_has_one_line(keyed: ApiBench) -> None:
    secret = keyed.make_key(tenant="acme")
    steps = iter(range(100))

    def call(method: str, path: str, body: object = None, **headers: str) -> tuple[str, Any]:
        name = f"r{next(steps)}"
        reply = keyed.call(method, path, body, bearer(secret) | {"x-request-id": name} | headers)
        assert reply.status < 300, reply
        return name, data(reply) if reply.body else None

    def line(name: str) -> dict[str, Any]:
        (found,) = lines(keyed, name)
        assert (found["tenant"], found["request"]) == ("acme", name)
        return found

    once = {"idempotency-key": "k"}
    name, task = call("POST", "/api/tasks", SUBMISSION, **once)
    assert (line(name)["event"], line(name)["task"]) == ("accepted", task["id"])
    assert line(call("POST", "/api/tasks", SUBMISSION, **once)[0])["event"] == "replayed"
    for method, path, event in (
        ("POST", task["links"]["cancel"], "cancelled"),
        ("POST", task["links"]["retry"], "retried"),
        ("DELETE", task["links"]["self"], "erased"),
    ):
        name, _ = call(method, path)
        assert line(name) == {"event": event, "task": task["id"], "tenant": "acme", "request": name}
    name, key = call("POST", "/api/keys", {"label": LABEL})
    made = {"event": "key_made", "tenant": "acme", "key": key["id"], "scopes": ["read", "write"], "request": name}
    assert line(name) == made
    name, _ = call("DELETE", f"/api/keys/{key['id']}")
    assert line(name) == {"event": "key_deleted", "tenant": "acme", "key": key["id"], "request": name}
    # Requests that log no change: a read changes nothing, and neither does a refused or repeated request.
    assert lines(keyed, call("GET", "/api/tasks")[0]) == []
    written = "\n".join(keyed.log_lines)
    assert "canary" not in written
    for text in (secret, key["key"]):
        assert text not in written
        assert text.rpartition("_")[2] not in written


def test_what_changes_nothing_has_no_line(keyed: ApiBench) -> None:
    headers = bearer(keyed.make_key())
    task = data(keyed.call("POST", "/api/tasks", {"input": "x"}, headers))
    assert keyed.call("POST", task["links"]["retry"], None, headers | {"x-request-id": "retry"}).status == 409
    for name in ("first", "second"):
        assert keyed.call("POST", task["links"]["cancel"], None, headers | {"x-request-id": name}).status == 200
    for name in ("gone", "again"):
        keyed.call("DELETE", task["links"]["self"], None, headers | {"x-request-id": name})
    assert [len(lines(keyed, name)) for name in ("retry", "first", "second", "gone", "again")] == [0, 1, 0, 1, 0]
