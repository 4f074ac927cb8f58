"""Webhook endpoints and webhook deliveries, as clients use them over HTTP."""

from typing import Any

import pytest

from src.kernel.api.base import problems
from src.kernel.domain import limits
from src.kernel.domain.keys import Scope
from tests.support.api_bench import ENDPOINT, ApiBench, bearer, data
from tests.support.sqlite_d1 import NETWORK_LOST

ALL = {**ENDPOINT, "event_types": ["task.completed", "task.cancelled", "response.cancelled"]}


def made(bench: ApiBench, **changes: Any) -> Any:
    return data(bench.call("POST", "/v1/webhook_endpoints", ALL | changes))


def error(reply: Any) -> Any:
    return data(reply)["error"]


def test_a_secret_is_shown_when_it_is_made_and_never_again(bench: ApiBench):
    one = made(bench)
    secret = one.pop("signing_secret")
    path = f"/v1/webhook_endpoints/{one['id']}"
    assert data(bench.call("GET", path)) == one
    assert one["signing_secret_hint"] == f"…{secret[-5:]}"
    rotated = data(bench.call("POST", f"{path}/rotate_secret", {"keep_old_secret_active_for_24_hours": True}))
    assert rotated["signing_secret"] != secret
    listed = data(bench.call("GET", "/v1/webhook_endpoints"))
    assert [one["id"] for one in listed["data"]] == [one["id"]]
    assert "signing_secret" not in listed["data"][0]
    stored = str(bench.database.rows("SELECT * FROM webhook_endpoints"))
    assert secret not in stored
    assert rotated["signing_secret"] not in stored


def test_pages_of_endpoints(bench: ApiBench):
    ids = [made(bench)["id"] for _ in range(3)]
    first = data(bench.call("GET", "/v1/webhook_endpoints?limit=2"))
    assert (first["has_more"], len(first["data"])) == (True, 2)
    rest = data(bench.call("GET", f"/v1/webhook_endpoints?limit=2&after={first['last_id']}"))
    assert {one["id"] for page in (first, rest) for one in page["data"]} == set(ids)
    assert (rest["has_more"], [rest["first_id"], rest["last_id"]]) == (False, [rest["data"][0]["id"]] * 2)
    refused = bench.call("GET", "/v1/webhook_endpoints?after=we_x")
    assert (refused.status, error(refused)["param"]) == (400, "after")
    assert data(bench.call("GET", f"/v1/webhook_endpoints?after={ids[0]}&limit=100"))["data"] != []


BAD: dict[str, list[Any]] = {
    "url": ["http://example.com/", "https://127.0.0.1/", "https://localhost/", 7],
    "name": ["", "x" * 101],
    "event_types": [[], "task.completed"],
    "event_types.0": [["batch.started"]],
    "surprise": [1],
}


@pytest.mark.parametrize(("param", "value"), [(param, value) for param, values in BAD.items() for value in values])
def test_a_bad_field_is_named(bench: ApiBench, param: str, value: Any):
    reply = bench.call("POST", "/v1/webhook_endpoints", ALL | {param.partition(".")[0]: value})
    assert (reply.status, error(reply)["param"], error(reply)["type"]) == (400, param, "invalid_request_error")
    assert bench.database.rows("SELECT * FROM webhook_endpoints") == []


def test_loopback_is_for_those_who_ask_for_it(bench: ApiBench):
    assert bench.call("POST", "/v1/webhook_endpoints", ALL | {"url": "http://127.0.0.1:9/x"}).status == 400
    bench.limit(webhook_loopback=True)
    assert made(bench, url="http://127.0.0.1:9/x")["url"] == "http://127.0.0.1:9/x"


def test_a_cancelled_task_is_told_after_the_answer(bench: ApiBench):
    made(bench)
    task_id = bench.submit()["id"]
    bench.call("POST", f"/api/tasks/{task_id}/cancel")
    bench.settle()
    (message,) = bench.courier.messages
    assert (message.event["type"], message.event["data"]["id"]) == ("task.cancelled", task_id)
    (one,) = data(bench.call("GET", f"/api/tasks/{task_id}/deliveries"))["deliveries"]
    assert (one["id"], one["status"], one["tries"], one["nextAttemptAt"]) == (message.id, "delivered", 1, None)
    bench.courier.receiver = lambda _message: 500
    again = data(bench.call("POST", f"/api/deliveries/{one['id']}/redeliver"))
    assert again["status"] == "pending"
    bench.settle()
    assert [message.id for message in bench.courier.messages] == [one["id"]] * 2
    (one,) = data(bench.call("GET", f"/api/tasks/{task_id}/deliveries"))["deliveries"]
    assert [(attempt["status"], attempt["failure"]) for attempt in one["attempts"]] == [
        (200, None),
        (500, "server_error"),
    ]
    assert bench.call("DELETE", f"/api/tasks/{task_id}").status == 204
    assert bench.call("GET", f"/api/tasks/{task_id}/deliveries").status == 404
    assert bench.call("POST", f"/api/deliveries/{one['id']}/redeliver").status == 404


def test_a_task_of_the_other_face_is_told_in_its_words(bench: ApiBench):
    made(bench)
    response = data(bench.call("POST", "/v1/responses", {"background": True, "input": "x"}))
    bench.call("POST", f"/v1/responses/{response['id']}/cancel")
    bench.settle()
    (message,) = bench.courier.messages
    assert (message.event["type"], message.event["data"]["id"]) == ("response.cancelled", response["id"])


def test_a_task_without_deliveries_has_an_empty_list(bench: ApiBench):
    task_id = bench.submit()["id"]
    assert data(bench.call("GET", f"/api/tasks/{task_id}/deliveries")) == {"deliveries": []}


def test_a_test_call_says_what_was_answered(bench: ApiBench):
    one = made(bench)
    bench.courier.receiver = lambda _message: (418, {})
    path = f"/v1/webhook_endpoints/{one['id']}/test"
    tested = data(bench.call("POST", path, {"event_type": "response.failed"}))
    assert (tested["status_code"], tested["event_type"]) == (418, "response.failed")
    assert data(bench.call("POST", path))["event_type"] == "task.completed"
    assert {"webhook-id", "webhook-signature"} <= set(bench.courier.messages[0].headers)
    assert bench.database.rows("SELECT * FROM webhook_deliveries") == []
    assert bench.call("POST", path, {"event_type": "other"}).status == 400


@pytest.mark.parametrize(
    ("status", "is_success"),
    [(200, True), (204, True), (299, True), (301, False), (404, False), (410, False), (500, False)],
)
def test_a_test_call_is_a_success_only_with_2xx(status: int, is_success: bool, bench: ApiBench):
    one = made(bench)
    bench.courier.receiver = lambda _message: (status, {})
    tested = data(bench.call("POST", f"/v1/webhook_endpoints/{one['id']}/test"))
    assert (tested["success"], tested["status_code"]) == (is_success, status)
    assert data(bench.call("GET", f"/v1/webhook_endpoints/{one['id']}"))["status"] == "enabled"


def test_endpoints_are_a_tenants_own(keyed: ApiBench):
    mine, theirs = (bearer(keyed.make_key(*Scope, tenant=tenant)) for tenant in ("one", "two"))
    one = data(keyed.call("POST", "/v1/webhook_endpoints", ALL, mine))
    path = f"/v1/webhook_endpoints/{one['id']}"
    for method, there in (("GET", path), ("DELETE", path), ("POST", f"{path}/rotate_secret"), ("POST", f"{path}/test")):
        assert keyed.call(method, there, headers=theirs).status == 404
    assert data(keyed.call("GET", "/v1/webhook_endpoints", headers=theirs))["data"] == []
    task_id = data(keyed.call("POST", "/api/tasks", {"input": "x"}, mine))["id"]
    keyed.call("POST", f"/api/tasks/{task_id}/cancel", headers=mine)
    keyed.settle()
    (delivery,) = data(keyed.call("GET", f"/api/tasks/{task_id}/deliveries", headers=mine))["deliveries"]
    assert keyed.call("POST", f"/api/deliveries/{delivery['id']}/redeliver", headers=theirs).status == 404
    assert keyed.call("GET", f"/api/tasks/{task_id}/deliveries", headers=theirs).status == 404
    for number in range(limits.WEBHOOK_ENDPOINTS_MOST):
        assert keyed.call("POST", "/v1/webhook_endpoints", ALL, theirs).status == 200, number
    assert keyed.call("POST", "/v1/webhook_endpoints", ALL, theirs).status == 409
    assert keyed.call("POST", "/v1/webhook_endpoints", ALL, mine).status == 200


def test_without_a_key_the_answer_says_what_to_run(bench: ApiBench):
    bench.limit(webhook_key=None)
    reply = bench.call("POST", "/v1/webhook_endpoints", ALL)
    assert reply.status == problems.NO_WEBHOOK_KEY.status == 503
    assert error(reply)["code"] == "no_webhook_key"
    assert "npx wrangler secret put WEBHOOK_KEY" in error(reply)["message"]
    assert data(bench.call("GET", "/v1/webhook_endpoints"))["data"] == []


def test_an_endpoint_whose_registration_failed_does_not_land_later(bench: ApiBench):
    """After a 503 its client has no secret, so a tombstone refuses the late write."""
    bench.database.fail(NETWORK_LOST, "later", 3)
    assert bench.call("POST", "/v1/webhook_endpoints", ALL).status == 503
    bench.run(bench.database.land())
    assert bench.database.rows("SELECT id FROM webhook_endpoints") == []


def test_a_deletion_whose_answer_was_lost_is_one(bench: ApiBench):
    path = f"/v1/webhook_endpoints/{made(bench)['id']}"
    bench.database.fail(NETWORK_LOST, "after")
    assert bench.call("DELETE", path).status == 200
    assert bench.call("DELETE", path).status == 404


def test_a_redelivery_whose_answer_was_lost_is_one(bench: ApiBench):
    one = made(bench)
    task_id = bench.submit()["id"]
    bench.call("POST", f"/api/tasks/{task_id}/cancel")
    bench.settle()
    (delivery,) = data(bench.call("GET", f"/api/tasks/{task_id}/deliveries"))["deliveries"]
    path = f"/api/deliveries/{delivery['id']}/redeliver"
    bench.database.fail(NETWORK_LOST, "after", passing=1)
    again = bench.call("POST", path)
    assert (again.status, data(again)["status"]) == (202, "pending")
    bench.call("DELETE", f"/v1/webhook_endpoints/{one['id']}")
    assert bench.call("POST", path).status == problems.ENDPOINT_GONE.status
