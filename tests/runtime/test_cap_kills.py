"""Kills the real runtime while its tenant uses up a cap: no kill takes the calls above it."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from src.kernel.domain import limits
from tests import batch_chaos
from tests.chaos import FAULTS, _list, _read
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.chaos_audit import audit
from tests.support.chaos_work import Submission, submissions
from tests.support.client import Client, Json, openai
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Call, Plan, chance_of
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

# Input is free, and each output of the test's model has as many tokens as a call may have. So a call costs just its
# most, and a single call too many is above the cap.
TOKENS = 9
PRICES = f'{{"test-model": {{"input": "0", "output": "100", "maxOutput": {TOKENS}}}}}'
A_CALL = Decimal(TOKENS) * 100 / 10**6
LINES_A_TASK = 30
LONG = (limits.LANES_FROM_CHUNKS + 4, "concat"), (limits.LANES_FROM_CHUNKS, "merge")  # these tasks have lanes
SETTLE_SECONDS = 600
LIMITS = "/api/tenants/local/limits"


class Tenant:
    """A tenant's tasks and its batch, and its server, which serves the same state in each environment."""

    def __init__(self, folder: Path, model: ModelServer, tasks: int) -> None:
        sizes = [*LONG, *submissions(4, tasks - len(LONG))]
        self.left = [Submission(f"t{number:03}x0", *size) for number, size in enumerate(sizes)]
        self.accepted: list[str] = []
        self.batch = batch_chaos.Report(batch_chaos.Plan(LINES_A_TASK * tasks, kills=0, seed=4))
        self.batch_id = ""
        self.cap = (sum(one.parts for one in self.left) + self.batch.plan.lines) // 10 * A_CALL
        self._lines = folder / "lines.jsonl"
        self._lines.write_text("".join(map(batch_chaos.line_of, range(self.batch.plan.lines))))
        self._state = folder / "state"
        own = {"AI_MODEL": "test-model", "AI_CONCURRENCY": 2, "PRICES": PRICES, "MAX_OBJECTS_AT_WORK": 6}
        self._flags = [*openai(model.base_url, **own, **batch_chaos.VARIABLES), "--cron-every", "1"]

    @contextlib.contextmanager
    def served(self, route: str) -> Iterator[tuple[DevServer, Client]]:
        with DevServer(self._state, *ENVIRONMENTS[route], *self._flags) as dev, Client(dev.url) as client:
            yield dev, client

    def set_cap(self, client: Client, dollars: Decimal) -> None:
        assert client.http.put(LIMITS, json={"monthlyCostMost": str(dollars)}).status_code == 200

    def submit(self, client: Client, most: int) -> None:
        """Start the batch, and submit some tasks. Those that the cap refuses are left for later."""
        if not self.batch_id:
            self.batch_id = batch_chaos.start_batch(str(client.http.base_url), self._lines)
        some, self.left = self.left[:most], self.left[most:]
        for submission in some:
            answer = client.http.post("/api/tasks", json=submission.body())
            if answer.status_code == 202:
                self.accepted.append(answer.json()["id"])
            else:
                assert (answer.status_code, answer.json()["code"]) == (429, "cost_limit")
                self.left.append(submission)

    def read_batch(self, client: Client) -> Json:
        return batch_chaos.batch_of(str(client.http.base_url), self.batch_id)


def charged(calls: list[Call]) -> Decimal:
    """Return what a provider charges for calls: all but those that it has refused."""
    return A_CALL * sum(not (call.answered or "").startswith("status") for call in calls)


def amounts(client: Client) -> tuple[Decimal, Decimal, Decimal]:
    """Return what is booked this month, in doubt and out."""
    found = client.http.get(LIMITS).raise_for_status().json()
    return Decimal(found["booked"]), Decimal(found["inDoubt"]), Decimal(found["out"])


def reasons(client: Client) -> set[str | None]:
    """Return what the unfinished tasks wait for, the batch's too."""
    waits = [task["waitingFor"] for task in _list(client.http) if not task["terminal"]]
    return {wait and wait["reason"] for wait in waits}


@pytest.mark.parametrize(("tasks", "kills"), [(12, 2), pytest.param(40, 6, marks=pytest.mark.campaign)])
def test_kills_take_no_tenant_above_its_cap(tasks: int, kills: int, tmp_path: Path) -> None:
    """With a cap of a tenth of the work, tasks, lanes and a batch stay within it, and end when it is raised."""
    with ModelServer(latency_seconds=0.3, plan=Plan(chances=list(map(chance_of, FAULTS)), seed=4)) as model:
        tenant = Tenant(tmp_path, model, tasks)
        kill(tenant, model, kills)
        with tenant.served("queue") as (_, client):
            tenant.submit(client, tasks)
            eventually(lambda: reasons(client) == {"cost_limit"}, SETTLE_SECONDS, 0.5)
            booked, in_doubt, out = amounts(client)
            assert charged(model.calls()) <= booked + in_doubt == tenant.cap
            assert out == 0
            assert client.http.post("/api/tasks", json={"input": "one more"}).status_code == 429

            tenant.set_cap(client, 100 * tenant.cap)
            tenant.submit(client, tasks)
            assert not tenant.left
            eventually(
                lambda: not reasons(client) and tenant.read_batch(client)["status"] in batch_chaos.ENDED,
                SETTLE_SECONDS,
                0.5,
            )
            check(tenant, client, model.calls())


def kill(tenant: Tenant, model: ModelServer, kills: int) -> None:
    """Kill the server on one route after the other, each time with calls in flight and a further part of the cap used.

    What a kill leaves in flight is in doubt later, so the last kills may find the whole cap used.
    """
    for number in range(kills):
        with tenant.served(("queue", "durable-object")[number % 2]) as (dev, client):
            if number == 0:
                tenant.set_cap(client, tenant.cap)
            tenant.submit(client, -(-len(tenant.left) // (kills + 1 - number)))
            part = tenant.cap * (number + 1) / (kills + 1)
            eventually(partial(has_used, client, model, part, tenant.cap), SETTLE_SECONDS)
            dev.kill()
        assert charged(model.calls()) <= tenant.cap


def has_used(client: Client, model: ModelServer, part: Decimal, cap: Decimal) -> bool:
    """Whether a part of the cap is used and calls are in flight, or all of the cap is used for good."""
    booked, in_doubt, out = amounts(client)
    return booked + in_doubt == cap or (booked + in_doubt + out >= part and model.in_flight() > 0)


def check(tenant: Tenant, client: Client, calls: list[Call]) -> None:
    of_lines = [call for call in calls if call.user.startswith(batch_chaos.TEXT)]
    documents = [_read(client.http, task["id"]) for task in _list(client.http)]
    ours = [task for task in documents if "tag" in task["metadata"]]
    found = audit(tenant.accepted, ours, [call for call in calls if call not in of_lines])
    assert found.violations == []
    assert len(ours) == found.statuses["completed"]
    batch = tenant.read_batch(client)
    whole = client.http.get(f"/v1/files/{batch['output_file_id']}/content").text.splitlines()
    batch_chaos.audit_files(tenant.batch, batch, whole, whole)
    assert tenant.batch.violations == []
    booked, in_doubt, out = amounts(client)
    costs = [task["usage"]["cost"] for task in documents]
    assert booked == sum(Decimal(cost["amount"]) for cost in costs)
    assert in_doubt == sum(Decimal(cost["inDoubt"]) for cost in costs)
    assert out == 0
    assert charged(calls) <= booked + in_doubt
    print(f"{len(calls)} calls, {charged(calls)} charged, {booked} booked, {in_doubt} in doubt, {found.routes}")
