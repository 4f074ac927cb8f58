"""Operators: which keys may act on another tenant's tasks, with which calls and with which effects."""

import itertools
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest

from src.composition import CATALOGUE
from src.features.bulk.store import BulkStore, Generations
from src.kernel.api.base.messages import Reply
from src.kernel.domain import ids as core
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey, new_task_id
from src.kernel.domain.keys import OWN_SCOPES, Scope
from src.kernel.domain.task import Failure, Route, Status
from src.kernel.store.claims import Fail
from src.kernel.store.rows import Span
from tests.support.api_bench import ENDPOINT, START_MS, ApiBench, SavedBench, bearer, data

Json = dict[str, Any]

OURS, THEIRS = "local", "acme"  # `OURS` is the operator's own tenant
UNKNOWN = new_task_id(START_MS - 1, b"0123456789")
FAILURE = Failure(TaskCode.MODEL_UNAVAILABLE, "the model server answered 503", True)

# The calls that can reach the things of one other tenant, and those that can reach each tenant's.
ONE: Final = {
    *("submitTask", "readTask", "eraseTask", "readChunks", "readAttempts", "cancelTask", "followTask", "retryTask"),
    *("readDeliveries", "redeliver", "listKeys", "deleteKey", "createBatch", "readBatch", "cancelBatch"),
    *("uploadFile", "readFile", "deleteFile", "readFileContent"),
}
EACH: Final = {"listTasks", "retryTasks", "cancelTasks", "readTenants", "listBatches", "listFiles"}
# The kind of thing (such as a task) with which the test tries each call.
THING: Final[Mapping[str, str]] = {
    "readTask": "ended",
    "eraseTask": "going",
    "readChunks": "failed",
    "readAttempts": "failed",
    "cancelTask": "going",
    "followTask": "ended",
    "retryTask": "failed",
    "readDeliveries": "ended",
    "redeliver": "delivery",
    "readFile": "file",
    "deleteFile": "file",
    "readFileContent": "file",
    "readBatch": "batch",
    "cancelBatch": "batch",
}
BODY: Final[Mapping[str, Json]] = {"submitTask": {"input": "x"}, "retryTasks": {}, "cancelTasks": {}}


@dataclass(frozen=True)
class Operation:
    """A call of the API, as `/openapi.json` describes it."""

    name: str
    method: str
    path: str
    needed: Scope | None
    takes_tenant: bool
    takes_all: bool
    success: int

    @property
    def has_id(self) -> bool:
        return "{id}" in self.path


def _operations() -> Iterator[Operation]:
    paths: Json = CATALOGUE.document["paths"]
    for path, item in paths.items():
        for method, one in item.items():
            if method in {"parameters", "head", "options"}:
                continue
            scopes = [scope for way in one["security"] for scope in way["key"]]
            named = [parameter for parameter in one.get("parameters", ()) if parameter["name"] == "tenant"]
            yield Operation(
                name=one["operationId"],
                method=method.upper(),
                path=path,
                needed=Scope(scopes[0]) if scopes else None,
                takes_tenant=bool(named),
                takes_all=any("\\*" in parameter["schema"]["pattern"] for parameter in named),
                success=max(int(status) for status in one["responses"] if status < "300"),
            )


OPERATIONS: Final = {one.name: one for one in _operations()}
# Keys of other tenants need `admin` of OPERATOR_TENANT instead of `operator`: tests of their own try these two.
OF_ADMINS: Final = {"listKeys", "deleteKey"}
REACHING: Final = [name for name, one in OPERATIONS.items() if one.takes_tenant and name not in OF_ADMINS]
SCOPES: Final = [
    (Scope.READ,),
    (Scope.WRITE,),
    (Scope.ADMIN,),
    OWN_SCOPES,
    (Scope.READ, Scope.OPERATOR),
    (Scope.WRITE, Scope.OPERATOR),
    (Scope.ADMIN, Scope.WRITE, Scope.OPERATOR),
    tuple(Scope),
]


class Two:
    """Two tenants with tasks and deliveries of the same kinds, and with `batches` a batch each."""

    key: dict[str, str]
    things: dict[str, dict[str, str]]

    def __init__(self, *, batches: bool = False, filled: "tuple[Two, SavedBench] | None" = None) -> None:
        self.inputs: dict[str, str] = {}
        if filled is not None:
            two, saved = filled
            self.bench = ApiBench(keys=True, saved=saved)
            self.key, self.inputs, self.things = two.key, dict(two.inputs), deepcopy(two.things)
            return
        self.bench = ApiBench(keys=True)
        self.things = {tenant: self._fill(tenant) for tenant in (OURS, THEIRS)}
        if batches:
            self.start_batches()

    @classmethod
    def copied(cls, *, batches: bool = False) -> "Two":
        return cls(filled=_filled(batches))

    def _fill(self, tenant: str) -> dict[str, str]:
        self.key = bearer(self.bench.make_key(tenant=tenant))
        self.bench.call("POST", "/v1/webhook_endpoints", ENDPOINT, self.key)
        ended, failed, going = (self.submit(tenant) for _ in range(3))
        self.bench.call("POST", f"/api/tasks/{ended}/cancel", headers=self.key)
        self.fail(tenant, failed)
        self.bench.settle()
        told = data(self.bench.call("GET", f"/api/tasks/{ended}/deliveries", headers=self.key))
        return {"ended": ended, "failed": failed, "going": going, "delivery": told["deliveries"][0]["id"]} | {
            "file": data(self.bench.upload(tenant.encode(), self.key))["id"]
        }

    def start_batches(self) -> None:
        for tenant in (OURS, THEIRS, "nobody"):
            key = bearer(self.bench.make_key(tenant=tenant))
            self.inputs[tenant] = data(self.bench.upload(f"{tenant}\n".encode(), key))["id"]
            if tenant in self.things:
                made = self.bench.call("POST", "/v1/batches", self.batch_of(tenant), key)
                self.things[tenant]["batch"] = data(made)["id"]

    def batch_of(self, tenant: str | None) -> Json:
        file = self.inputs.get(tenant or OURS, "file-" + "0" * 32)
        return {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}

    def submit(self, tenant: str) -> str:
        key = bearer(self.bench.make_key(tenant=tenant))
        made: str = data(self.bench.call("POST", "/api/tasks", {"input": f"{tenant}\n\nand more"}, key))["id"]
        return made

    def fail(self, tenant: str, task_id: str) -> None:
        claim = self.bench.claim(task_id, tenant)
        self.bench.work(claim, {0: "output 0"}, Fail(self.bench.settings.retention_ms, FAILURE), failed=FAILURE)

    def ask(
        self, operation: str, key: str, where: str | None, thing: str | None = None, body: Json | None = None
    ) -> Reply:
        one = OPERATIONS[operation]
        path = one.path.replace("{id}", thing or "")
        path += "" if where is None else f"?tenant={where}"
        if operation == "uploadFile":
            return self.bench.upload(headers=bearer(key), query=path.partition("/v1/files")[2])
        if operation == "createBatch":
            body = self.batch_of(where)
        return self.bench.call(one.method, path, BODY.get(operation) if body is None else body, bearer(key))

    def acts(self) -> list[Json]:
        return [line for line in map(json.loads, self.bench.log_lines) if line["event"] == "operator_acted"]


@cache
def _filled(batches: bool) -> tuple[Two, SavedBench]:
    made = Two(batches=batches)
    saved = made.bench.save()
    made.bench.close()
    return made, saved


@pytest.fixture
def two() -> Two:
    return Two.copied()


def test_each_call_has_its_row() -> None:
    assert {name for name, one in OPERATIONS.items() if one.takes_all} == EACH
    assert {name for name, one in OPERATIONS.items() if one.takes_tenant} == ONE | EACH
    assert {name for name in REACHING if OPERATIONS[name].has_id} == THING.keys()


@pytest.mark.parametrize("operation", sorted(REACHING))
@pytest.mark.parametrize("scopes", SCOPES, ids="+".join)
def test_matrix(operation: str, scopes: tuple[Scope, ...]) -> None:
    """Only the key's scopes, the named tenant and the id's owner decide whether a call succeeds."""
    one = OPERATIONS[operation]
    owners = (OURS, THEIRS, None) if one.has_id else (None,)
    two: Two | None = None
    for where, owner in itertools.product((None, OURS, THEIRS, "nobody", "*", "A b"), owners):
        if two is None:
            two = Two.copied(batches="Batch" in operation)
        changed = _try(two, one, scopes, where, owner)
        if changed:
            two.bench.close()
            two = None
    if two is not None:
        two.bench.close()


def _try(two: Two, one: Operation, scopes: tuple[Scope, ...], where: str | None, owner: str | None) -> bool:
    key, acted_before = two.bench.make_key(*scopes), len(two.acts())
    batches, case = two.bench.database.batches, (one.name, scopes, where, owner)
    thing = None if not one.has_id else UNKNOWN if owner is None else two.things[owner][THING[one.name]]
    reply = two.ask(one.name, key, where, thing)
    whose = where or OURS
    is_all, is_foreign = whose == "*" and one.takes_all, whose != OURS
    if one.needed not in scopes:
        assert _refusal(reply) == (403, str(one.needed)), case
    elif not is_all and not core.is_tenant(whose):
        assert (reply.status, _code(reply)) == (400 if _is_below_v1(one) else 422, "invalid_fields"), case
    elif is_foreign and Scope.OPERATOR not in scopes:
        assert _refusal(reply) == (403, "operator"), case
        assert two.bench.database.batches == batches + 1, case  # the one D1 call is the look-up of the operator's key
    elif one.has_id and owner != whose:
        assert reply.status == 404, case
    else:
        assert reply.status == one.success, (case, reply)
        _is_of(one, reply, whose, two)
    acted = reply.status in {404, one.success}
    foreign = [THEIRS] if is_all else [whose] if is_foreign else []
    if one.takes_all and is_all and one.name in {"retryTasks", "cancelTasks"}:
        foreign = [THEIRS]  # this tenant is listed before ours
    acts = two.acts()[acted_before:]
    assert [line["tenant"] for line in acts] == (foreign if acted else []), case
    assert all((line["by"], line["call"]) == (OURS, one.name) for line in acts), case
    return one.method != "GET" and reply.status == one.success


def _is_below_v1(one: Operation) -> bool:
    return one.path.startswith("/v1/")


def _code(reply: Reply) -> str:
    told = data(reply)
    code: str = told.get("error", told)["code"]
    return code


def _refusal(reply: Reply) -> tuple[int, str]:
    assert _code(reply) == "forbidden"
    return reply.status, reply.headers["WWW-Authenticate"].rpartition("scope=")[2].strip('"')


def _is_of(one: Operation, reply: Reply, whose: str, two: Two) -> None:
    mine, theirs = (set(two.things[tenant].values()) for tenant in (OURS, THEIRS))
    wanted = mine | theirs if whose == "*" else {OURS: mine, THEIRS: theirs}.get(whose, set())
    for strange in (mine | theirs) - wanted:
        assert strange not in reply.body
    if one.name == "listTasks":
        expected = {THEIRS: 3, OURS: 3} if whose == "*" else {} if whose == "nobody" else {whose: 3}
        told = [task.get("tenant", OURS) for task in data(reply)["tasks"]]
        assert told == [tenant for tenant, count in expected.items() for _ in range(count)]
    if one.name == "listFiles":
        assert {file["id"] for file in data(reply)["data"]} == wanted & {
            two.things[OURS]["file"],
            two.things[THEIRS]["file"],
        }
    if one.name == "readFileContent":
        assert reply.body == whose
    if one.name == "listBatches":
        tenants = [OURS, THEIRS] if whose == "*" else [whose] if whose in two.things else []
        assert [batch["id"] for batch in data(reply)["data"]] == [two.things[tenant]["batch"] for tenant in tenants]
    if one.name in {"readTask", "cancelTask", "retryTask", "submitTask"}:
        task = data(reply)
        behind = "" if whose == OURS else f"?tenant={whose}"
        assert task.get("tenant") == (None if whose == OURS else whose)
        assert all(link.endswith(f"/{name}{behind}") for name, link in task["links"].items() if name != "self")
        assert task["links"]["self"] == f"/api/tasks/{task['id']}{behind}"
        if "Location" in reply.headers:
            assert reply.headers["Location"] == task["links"]["self"]


@pytest.mark.parametrize("operation", [name for name, one in OPERATIONS.items() if not one.takes_tenant])
def test_other_calls_take_no_tenant(two: Two, operation: str) -> None:
    one = OPERATIONS[operation]
    key = two.bench.make_key(*Scope)
    for where in (OURS, THEIRS, "*"):
        reply = two.ask(operation, key, where, UNKNOWN, {})
        assert reply.status == (400 if one.path.startswith("/v1/") else 422), where
    assert two.acts() == []


@pytest.mark.parametrize("where", ["", f"&tenant={THEIRS}", "&tenant="])
def test_a_tenant_without_a_name_is_refused(two: Two, where: str) -> None:
    """With an empty `tenant` taken, a script's empty variable would act on its own tenant."""
    for operation in ("cancelTasks", "retryTasks", "listTasks", "submitTask"):
        reply = two.ask(operation, two.bench.make_key(*Scope), where)
        assert (reply.status, [one["field"] for one in data(reply)["errors"]]) == (422, ["tenant"]), operation
    assert two.acts() == []


def test_without_keys_there_is_one_tenant(bench: ApiBench) -> None:
    task = bench.submit()
    assert bench.call("GET", f"/api/tasks/{task['id']}?tenant=local").status == 200
    assert bench.call("GET", f"/api/tasks/{task['id']}?tenant=acme").status == 403
    assert bench.call("GET", "/api/tasks?tenant=*").status == 403


def test_the_api_gives_it_to_nobody(two: Two) -> None:
    for key in (two.bench.make_key(), two.bench.make_key(*Scope)):
        reply = two.bench.call("POST", "/api/keys", {"scopes": ["read", "operator"]}, bearer(key))
        assert _refusal(reply) == (403, "operator")
        assert "make key" in data(reply)["detail"]
    listed = data(two.bench.call("GET", "/api/keys", headers=bearer(key)))["keys"]
    assert [one["scopes"] for one in listed if "operator" in one["scopes"]] == [["read", "write", "admin", "operator"]]


def test_it_gives_neither_read_nor_write(two: Two) -> None:
    writer = two.bench.make_key(Scope.WRITE, Scope.OPERATOR)
    assert two.ask("listTasks", writer, THEIRS).status == 403
    told = data(two.ask("retryTask", writer, THEIRS, two.things[THEIRS]["failed"]))
    assert (told["tenant"], told["result"], told["request"]["instructions"]) == (THEIRS, None, "")


MANY = ["a", "a-b", "a0", "b", *(f"t{number}" for number in range(core.TENANTS_A_PAGE + 3))]


def test_bad_cursors_are_refused(two: Two) -> None:
    key = two.bench.make_key(*Scope)
    one = data(two.ask("listTasks", key, THEIRS + "&limit=1"))["nextCursor"]
    every = data(two.ask("listTasks", key, "*&limit=1"))["nextCursor"]
    for operation, where in (
        ("listTasks", f"*&cursor={one}"),
        ("listTasks", f"{THEIRS}&cursor={every}"),
        ("readTenants", f"{THEIRS}&cursor={every}"),
        ("retryTasks", f"{THEIRS}&cursor={every}"),
        ("cancelTasks", "*&cursor=%3A"),
    ):
        assert two.ask(operation, key, where).status == 422, (operation, where)


@pytest.mark.parametrize(
    ("operation", "counts", "thing"), [("retryTasks", "retried", "failed"), ("cancelTasks", "cancelled", "going")]
)
def test_bulk_goes_through_all_tenants(two: Two, operation: str, counts: str, thing: str) -> None:
    made = {tenant: two.submit(tenant) for tenant in MANY}
    if thing == "failed":
        for tenant in ("b", "t2"):
            two.fail(tenant, made[tenant])
    expected = {OURS, THEIRS} | ({"b", "t2"} if thing == "failed" else set(MANY))
    key = two.bench.make_key(*Scope)
    for body, name in (({"dryRun": True}, "tasks"), ({}, counts)):
        done: dict[str, int] = {}
        cursor: str | None = ""
        while cursor is not None:
            told = data(two.ask(operation, key, f"*&cursor={cursor}", body=body))
            done |= {told["tenant"]: told[name]} if told[name] else {}
            cursor = told["nextCursor"]
        assert done == dict.fromkeys(expected, 1)
    assert {line["tenant"] for line in two.acts()} == {THEIRS, *MANY}


@pytest.mark.parametrize(("operation", "counts"), [("retryTasks", "retried"), ("cancelTasks", "cancelled")])
def test_bulk_goes_on_with_what_a_tenant_has_left(
    two: Two, operation: str, counts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.kernel.domain.limits.BULK_TASKS_MOST", 1)
    more = two.submit(THEIRS)
    if operation == "retryTasks":
        two.fail(THEIRS, more)
    key, told = two.bench.make_key(*Scope), []
    cursor: str | None = ""
    while cursor is not None:
        one = data(two.ask(operation, key, f"*&cursor={cursor}"))
        told.append((one["tenant"], one[counts], one["more"]))
        cursor = one["nextCursor"]
    assert told == [(THEIRS, 1, True), (THEIRS, 1, False), (OURS, 1, False)]


def test_a_tenant_at_its_limit_holds_up_no_other(two: Two) -> None:
    two.bench.limit(tasks_in_flight_most=1)
    two.bench.call("POST", f"/api/tasks/{two.things[OURS]['going']}/cancel", headers=bearer(two.bench.make_key()))
    key = two.bench.make_key(*Scope)
    assert two.ask("retryTasks", key, THEIRS).status == 429
    first = data(two.ask("retryTasks", key, "*"))
    assert (first["tenant"], first["retried"], first["limit"]) == (THEIRS, 0, "tasks_in_flight")
    second = data(two.ask("retryTasks", key, f"*&cursor={first['nextCursor']}"))
    assert (second["tenant"], second["retried"], second["nextCursor"]) == (OURS, 1, None)


def test_figures_by_tenant(two: Two) -> None:
    found = data(two.ask("readTenants", two.bench.make_key(*Scope), "*"))
    assert [one["tenant"] for one in found["tenants"]] == [THEIRS, OURS]
    assert found["nextCursor"] is None
    for one in found["tenants"]:
        assert {name: one[name] for name in ("tasks", "more", "pending", "failed", "cancelled", "completed")} == {
            "tasks": 3,
            "more": False,
            "pending": 1,
            "failed": 1,
            "cancelled": 1,
            "completed": 0,
        }
        assert one["failures"] == [{"code": "model_unavailable", "tasks": 1}]
        assert (one["modelCalls"], one["inputTokens"], one["outputTokens"]) == (5, 10, 1)
        assert one["cost"] is None
    own = data(two.ask("readTenants", two.bench.make_key(Scope.READ), None))
    assert [one["tenant"] for one in own["tenants"]] == [OURS]
    two.bench.database.rows(
        "UPDATE tasks SET cost = 1500000000, cost_in_doubt = 250000000 WHERE id IN (SELECT max(id) FROM tasks)"
    )
    found = data(two.ask("readTenants", two.bench.make_key(*Scope), "*"))["tenants"]
    assert [one["cost"] for one in found if one["cost"]] == [
        {"amount": "1.500000000", "currency": "USD", "inDoubt": "0.250000000"}
    ]
    two.bench.database.rows("UPDATE tasks SET cost = NULL")
    found = data(two.ask("readTenants", two.bench.make_key(*Scope), "*"))["tenants"]
    assert [one["cost"]["amount"] for one in found if one["cost"]] == ["0.000000000"]


def test_figures_cost_a_bounded_number_of_rows(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.kernel.store.tenants.TENANT_TASKS_MOST", 2)
    monkeypatch.setattr("src.features.operate.tenants.TENANT_TASKS_MOST", 2)
    key = two.bench.make_key(*Scope)
    (one,) = data(two.ask("readTenants", key, THEIRS))["tenants"]
    assert (one["tasks"], one["more"], one["cancelled"]) == (2, True, 0)
    two.bench.pass_seconds(3_700)
    (one,) = data(two.ask("readTenants", key, f"{THEIRS}&hours=1"))["tenants"]
    assert (one["tasks"], one["more"], one["failures"]) == (0, False, [])


@pytest.mark.parametrize("query", ["status=bogus", "createdAfter=bogus", "createdBefore=bogus", "limit=0"])
@pytest.mark.parametrize("cursor", ["", "zz:"])
def test_bad_filters_are_refused_before_a_tenant_is_visited(two: Two, query: str, cursor: str) -> None:
    assert two.ask("listTasks", two.bench.make_key(*Scope), f"*&cursor={cursor}&{query}").status == 422
    assert two.acts() == []


def test_a_cursor_outlives_its_tenant(two: Two) -> None:
    key = two.bench.make_key(*Scope)
    page = data(two.ask("listTasks", key, "*&limit=1"))
    for thing in ("ended", "failed", "going"):
        assert two.ask("eraseTask", key, THEIRS, two.things[THEIRS][thing]).status == 204
    rest = data(two.ask("listTasks", key, f"*&cursor={page['nextCursor']}"))
    assert {task["tenant"] for task in rest["tasks"]} == {OURS}
    assert len(rest["tasks"]) == 3


def test_a_cancellation_that_finds_all_changed_comes_back(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.kernel.domain.limits.BULK_TASKS_MOST", 1)
    two.submit(THEIRS)
    key, find = two.bench.make_key(*Scope), BulkStore.going_on_in
    changed: list[TaskKey] = []
    body = {"status": "pending"}

    async def find_too_late(store: BulkStore, tenant: str, span: Span, status: Status | None, most: int) -> Generations:
        found = await find(store, tenant, span, status, most)
        if tenant == THEIRS and not changed:
            changed.append(next(iter(found)))
            await two.bench.store.claim(changed[0], holder="", host="", route=Route.QUEUE, lease_ms=180_000)
        return found

    monkeypatch.setattr(BulkStore, "going_on_in", find_too_late)
    first = data(two.ask("cancelTasks", key, "*", body=body))
    assert (first["tenant"], first["cancelled"], first["more"]) == (THEIRS, 0, True)
    told = data(two.ask("cancelTasks", key, f"*&cursor={first['nextCursor']}", body=body))
    assert (told["tenant"], told["cancelled"]) == (THEIRS, 1)
