"""`X-Onceover-Route` sends a submission by one route alone, for an operator who examines each."""

import pytest

from src.kernel.domain.keys import Scope
from src.kernel.domain.task import Route
from tests.support.api_bench import ApiBench, bearer, data

BODY = {"input": "a text"}
ALL = (Route.QUEUE, Route.DURABLE_OBJECT, Route.DIRECT)


def test_each_bound_route_can_be_chosen():
    bench = ApiBench(routes=ALL)
    for route, sender in zip(ALL, bench.senders, strict=True):
        reply = bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": route})
        bench.settle()
        assert (reply.status, data(reply)["route"]) == (202, route)
        assert sender.sent == [data(reply)["id"]]
    bench.close()


def test_a_route_that_refuses_is_not_replaced_by_another():
    """The task waits for the sweep, so that whoever examines the route sees that it did not carry the task."""
    bench = ApiBench(routes=ALL)
    bench.senders[0].refuses = True
    assert bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": "queue"}).status == 202
    bench.settle()
    assert [sender.sent for sender in bench.senders] == [[], [], []]
    bench.close()


@pytest.mark.parametrize("route", ["durable-object", "carrier pigeon", ""])
def test_a_route_that_is_not_bound_is_refused(bench: ApiBench, route: str):
    reply = bench.call("POST", "/api/tasks", BODY, {"x-onceover-route": route})
    assert (reply.status, data(reply)["errors"][0]["field"]) == (422, "X-Onceover-Route")
    assert bench.count_rows() == 0


def test_it_needs_write_and_admin_of_the_operators_tenant(keyed: ApiBench):
    for scopes, tenant, status in (
        ((Scope.WRITE, Scope.ADMIN), "local", 202),
        ((Scope.WRITE,), "local", 403),
        ((Scope.ADMIN,), "local", 403),
        ((Scope.READ, Scope.WRITE, Scope.ADMIN, Scope.OPERATOR), "other", 403),
    ):
        key = bearer(keyed.make_key(*scopes, tenant=tenant))
        assert keyed.call("POST", "/api/tasks", BODY, key | {"x-onceover-route": "queue"}).status == status
    assert len(keyed.database.rows("SELECT 1 FROM tasks")) == 1


def test_a_repeated_submission_may_name_another_route(bench: ApiBench):
    """The route is no part of what an Idempotency-Key stands for."""
    first = bench.call("POST", "/api/tasks", BODY, {"idempotency-key": "one", "x-onceover-route": "queue"})
    for named in ({"x-onceover-route": "direct"}, {}):
        again = bench.call("POST", "/api/tasks", BODY, {"idempotency-key": "one"} | named)
        assert (again.status, data(again)["id"]) == (202, data(first)["id"])
        assert again.headers["Idempotency-Replayed"] == "true"
